#include "replica/wire/outline.h"

#include "replica/wire/record_digest.h"

namespace tandem::replica {
namespace {

void NoteData(const DataRecord& record, uint32_t index, std::vector<Outline::Data>& noted) {
  const ByteRange range = ByteRange::Of(record.offset, record.length);
  if (!noted.empty()) {
    Outline::Data& last = noted.back();
    const bool goes_on = last.object == record.object && last.index + 1 == index &&
                         last.range.end == range.start && !range.empty();
    if (goes_on) {
      last.index = index;
      last.range.end = range.end;
      return;
    }
  }
  noted.push_back({record.object, index, range});
}

bool IsContentOf(const Outline::Object& object, const DataRecord& record, uint32_t index) {
  return object.index + 1 == index && object.object == record.object &&
         object.kind == meta::Kind::kFile && record.offset == 0 && record.length != 0 &&
         record.length == object.size;
}

}  // namespace

Outline OutlineOf(const std::vector<Record>& records) {
  Outline outline;
  outline.record_count = static_cast<uint32_t>(records.size());
  for (uint32_t index = 0; index < records.size(); ++index) {
    const Record& record = records[index];
    if (const auto* object = std::get_if<ObjectRecord>(&record)) {
      const meta::Attributes& attributes = object->attributes;
      outline.objects.push_back({object->object, index, attributes.kind, object->whole,
                                 object->again, /*with_content=*/false, attributes.size,
                                 DigestOf(*object)});
    } else if (const auto* data = std::get_if<DataRecord>(&record)) {
      auto& objects = outline.objects;
      if (!objects.empty() && IsContentOf(objects.back(), *data, index)) {
        objects.back().with_content = true;
      } else {
        NoteData(*data, index, outline.data);
      }
      if (data->encoding != Encoding::kStaged || !data->fresh) continue;
      if (!outline.files.empty() && outline.files.back().object == data->object) {
        outline.files.back().index = index;
      } else {
        outline.files.push_back({data->object, index, data->basis});
      }
    } else if (const auto* entry = std::get_if<EntryRecord>(&record)) {
      outline.entries.push_back({{entry->parent, entry->name}, entry->child});
    }
  }
  // Millions of these wait for their commit.
  outline.objects.shrink_to_fit();
  outline.data.shrink_to_fit();
  outline.files.shrink_to_fit();
  outline.entries.shrink_to_fit();
  return outline;
}

}  // namespace tandem::replica
