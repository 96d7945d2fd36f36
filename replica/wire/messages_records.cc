// Records: encoding and checked decoding of a chunk's payload.
#include "replica/wire/chunk_payload.h"
#include "replica/wire/messages.h"
#include "replica/wire/object_columns.h"
#include "replica/wire/wire_codec.h"

namespace tandem::replica {
namespace {

constexpr char kRecordsIdentifier[] = "TFR1";

// ---- Writing -----------------------------------------------------------------------------------

struct RecordWriter {
  WireBuilder& builder;

  flatbuffers::Offset<wire::Record> operator()(const ObjectRecord& record) const {
    const auto attributes = WriteAttributes(builder, record.attributes);
    const auto object = ToWire(record.object);
    return Wrap(wire::CreateObjectRecord(builder, &object, record.whole, record.with_xattrs,
                                         attributes, record.again));
  }

  flatbuffers::Offset<wire::Record> operator()(const DataRecord& record) const {
    flatbuffers::Offset<WireBytes> bytes;
    if (!record.bytes.empty()) bytes = WriteBytes(builder, record.bytes);
    const auto object = ToWire(record.object);
    const auto basis = ToWire(record.basis);
    return Wrap(wire::CreateDataRecord(builder, &object, record.offset, record.length,
                                       static_cast<wire::Encoding>(record.encoding), bytes,
                                       record.basis.is_null() ? nullptr : &basis,
                                       record.basis_offset, record.basis_length, record.checksum,
                                       record.fresh));
  }

  flatbuffers::Offset<wire::Record> operator()(const EntryRecord& record) const {
    const auto name = WriteBytes(builder, record.name);
    const auto parent = ToWire(record.parent);
    const auto child = ToWire(record.child);
    return Wrap(
        wire::CreateEntryRecord(builder, &parent, name, record.child.is_null() ? nullptr : &child));
  }

  flatbuffers::Offset<wire::Record> Columns(std::span<const Record> records) const {
    return Wrap(WriteColumns(builder, records));
  }

 private:
  template <typename Table>
  flatbuffers::Offset<wire::Record> Wrap(flatbuffers::Offset<Table> body) const {
    return wire::CreateRecord(builder, wire::RecordBodyTraits<Table>::enum_value, body.Union());
  }
};

size_t SizeHint(const std::vector<Record>& records) {
  size_t bytes = 256;
  for (const Record& record : records) {
    bytes += 160;
    if (const auto* data = std::get_if<DataRecord>(&record)) bytes += data->bytes.size();
  }
  return bytes;
}

// ---- Reading -----------------------------------------------------------------------------------

Result<ObjectId> KnownObject(const wire::Id* id) {
  const auto object = FromWire<ObjectId>(id);
  if (object.is_null()) return Malformed("a record without an object");
  return object;
}

Status CheckObject(const ObjectRecord& record) {
  if (record.object.is_null()) return Malformed("a record without an object");
  if (record.again && record.whole) return Malformed("a whole record of what came before");
  if (record.object == kRootObject && record.attributes.kind != meta::Kind::kDirectory) {
    return Malformed("a root that is not a directory");
  }
  return {};
}

Result<Record> Read(WireReader& reader, const wire::ObjectRecord& table) {
  ObjectRecord record;
  record.object = FromWire<ObjectId>(table.object());
  record.whole = table.whole();
  record.with_xattrs = table.with_xattrs();
  record.again = table.again();
  ASSIGN_OR_RETURN(record.attributes, reader.Attributes(*table.attributes()));
  RETURN_IF_ERROR(CheckObject(record));
  return record;
}

Status ReadObjects(const wire::ObjectColumns& table, std::vector<Record>& records) {
  const size_t before = records.size();
  RETURN_IF_ERROR(ReadColumns(table, kMaxChunkRecords, records));
  for (size_t i = before; i < records.size(); ++i) {
    RETURN_IF_ERROR(CheckObject(std::get<ObjectRecord>(records[i])));
  }
  return {};
}

Status CheckData(const DataRecord& record) {
  if (record.length == 0 || record.offset > ByteRange::kEndOfFile ||
      record.length > ByteRange::kEndOfFile - record.offset) {
    return Malformed("an impossible range of data");
  }
  if (record.object == kRootObject) return Malformed("data for the root directory");
  switch (record.encoding) {
    case Encoding::kLiteral:
      if (record.bytes.size() != record.length) return Malformed("data of the wrong length");
      return {};
    case Encoding::kHole:
      if (!record.bytes.empty()) return Malformed("a hole with bytes");
      return {};
    case Encoding::kDelta:
      if (record.basis.is_null() || record.length > kMaxDeltaWindow ||
          record.basis_length > kMaxDeltaWindow || record.basis_offset > ByteRange::kEndOfFile ||
          record.basis_length > ByteRange::kEndOfFile - record.basis_offset) {
        return Malformed("a delta over an impossible range");
      }
      return {};
    case Encoding::kCopy:
      if (record.basis.is_null() || record.length > kMaxDeltaWindow ||
          record.basis_length != record.length || record.bytes.size() != kCopyDigestBytes ||
          record.basis_offset > ByteRange::kEndOfFile - record.length) {
        return Malformed("a copy of an impossible range");
      }
      return {};
    case Encoding::kStaged:
      // Digests have 8 bytes, and there is one for each block of 128 KiB at most.
      if (record.bytes.size() % 8 != 0 || record.bytes.size() / 8 > (record.length >> 17) + 2 ||
          record.basis.is_null()) {
        return Malformed("a malformed staged range");
      }
      return {};
  }
  return Malformed("unknown encoding");
}

Result<Record> Read(WireReader& reader, const wire::DataRecord& table) {
  DataRecord record;
  ASSIGN_OR_RETURN(record.object, KnownObject(table.object()));
  record.offset = table.offset();
  record.length = table.length();
  ASSIGN_OR_RETURN(record.encoding, reader.Enum<Encoding>(table.encoding(), "encoding"));
  ASSIGN_OR_RETURN(record.bytes, reader.Bytes(table.bytes(), kMaxMessageBytes, "data"));
  record.basis = FromWire<ObjectId>(table.basis());
  record.basis_offset = table.basis_offset();
  record.basis_length = table.basis_length();
  record.checksum = table.checksum();
  record.fresh = table.fresh();
  RETURN_IF_ERROR(CheckData(record));
  return record;
}

Result<Record> Read(WireReader& reader, const wire::EntryRecord& table) {
  EntryRecord record;
  ASSIGN_OR_RETURN(record.parent, KnownObject(table.parent()));
  ASSIGN_OR_RETURN(record.name, reader.Name(table.name()));
  record.child = FromWire<ObjectId>(table.child());
  if (record.child == kRootObject || record.child == record.parent) {
    return Malformed("a directory inside itself");
  }
  return record;
}

Result<Record> ReadRecord(WireReader& reader, const wire::Record& table) {
  // A table and its wrapper take more than this, so many references to one table cannot decode as
  // many records.
  RETURN_IF_ERROR(reader.Take(kLeastRecordBytes));
  RETURN_IF_ERROR(CheckUnion(table.body_type(), table.body()));
  switch (table.body_type()) {
    case wire::RecordBody::ObjectRecord:
      return Read(reader, *table.body_as_ObjectRecord());
    case wire::RecordBody::DataRecord:
      return Read(reader, *table.body_as_DataRecord());
    case wire::RecordBody::EntryRecord:
      return Read(reader, *table.body_as_EntryRecord());
    default:
      return Malformed("unknown kind of record");
  }
}

// Object records that follow one another, each run for itself.
void SortObjects(std::vector<Record>& records) {
  for (auto first = records.begin(); first != records.end();) {
    const auto last = std::find_if_not(first, records.end(), FitsColumns);
    // Content may follow the last one.
    if (last - first > 1) SortForColumns({first, last - 1});
    first = last == records.end() ? last : last + 1;
  }
}

}  // namespace

std::string EncodeInColumns(std::vector<Record> records) {
  SortObjects(records);
  return EncodeRecords(records, /*in_columns=*/true);
}

std::string EncodeRecords(const std::vector<Record>& records, bool in_columns) {
  WireBuilder builder(SizeHint(records));
  std::vector<flatbuffers::Offset<wire::Record>> offsets;
  offsets.reserve(records.size());
  const RecordWriter writer{builder};
  for (size_t i = 0; i < records.size();) {
    size_t end = i;
    while (in_columns && end < records.size() && FitsColumns(records[end])) ++end;
    if (end - i >= kColumnsFrom) {
      offsets.push_back(writer.Columns(std::span(records).subspan(i, end - i)));
      i = end;
    } else {
      offsets.push_back(std::visit(writer, records[i]));
      ++i;
    }
  }
  const auto root = wire::CreateRecords(builder, builder.CreateVector(offsets));
  return Finish(builder, root.Union(), kRecordsIdentifier);
}

Result<std::vector<Record>> DecodeRecords(std::string_view bytes) {
  if (bytes.size() > kMaxMessageBytes) return Malformed("records larger than the limit");
  WireReader reader(bytes);
  ASSIGN_OR_RETURN(const wire::Records* root, reader.Root<wire::Records>(kRecordsIdentifier));
  if (root->records()->size() > kMaxChunkRecords) return Malformed("too many records in a chunk");
  std::vector<Record> records;
  records.reserve(root->records()->size());
  for (const wire::Record* table : *root->records()) {
    if (records.size() >= kMaxChunkRecords) return Malformed("too many records in a chunk");
    if (const auto* columns = table->body_as_ObjectColumns()) {
      RETURN_IF_ERROR(ReadObjects(*columns, records));
      continue;
    }
    ASSIGN_OR_RETURN(Record record, ReadRecord(reader, *table));
    records.push_back(std::move(record));
  }
  return records;
}

}  // namespace tandem::replica
