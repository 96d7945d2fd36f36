// Everything that decodes bytes from a peer. The first byte of an input says which decoder the rest
// is for. What decodes is encoded and decoded again, and must be the same.
#include <fuzzer/FuzzedDataProvider.h>
#include <zstd.h>

#include "replica/delta.h"
#include "replica/wire/chunk_payload.h"
#include "replica/wire/messages.h"
#include "replica/wire/outline.h"
#include "replica/wire/xattr_codec.h"
#include "tests/fuzz/lib/fuzz.h"

namespace tandem::replica {
namespace {

using fuzz::Require;

template <typename Decode, typename Encode>
void TurnAround(std::string_view bytes, Decode decode, Encode encode) {
  const auto decoded = decode(bytes);
  if (!decoded) return;
  const std::string encoded = encode(*decoded);
  const auto again = decode(encoded);
  Require(again.has_value(), "what was encoded can be decoded");
  Require(encode(*again) == encoded, "what was encoded and decoded is the same");
}

void CheckRecords(const std::vector<Record>& records) {
  const Outline outline = OutlineOf(records);
  Require(outline.record_count == records.size(), "an outline counts all records");
  for (const Outline::Object& item : outline.objects) {
    const auto* record = std::get_if<ObjectRecord>(&records.at(item.index));
    Require(record != nullptr && record->object == item.object, "an outline names its records");
    Require(item.size <= ByteRange::kEndOfFile, "a size fits off_t");
    if (!item.with_content) continue;
    const auto* content = std::get_if<DataRecord>(&records.at(item.index + 1));
    Require(content != nullptr && content->object == item.object && content->length == item.size &&
                content->offset == 0,
            "an outline names the content that follows");
  }
  for (const Outline::Data& item : outline.data) {
    const auto* record = std::get_if<DataRecord>(&records.at(item.index));
    Require(record != nullptr && record->object == item.object, "an outline names its records");
    Require(record->offset + record->length <= ByteRange::kEndOfFile, "a range fits off_t");
  }
  for (const Outline::Entry& item : outline.entries) {
    Require(IsValidName(item.key.name), "a name is one that a directory can have");
  }
}

void TryRecords(std::string_view bytes) {
  if (const auto records = DecodeRecords(bytes)) CheckRecords(*records);
  for (const bool in_columns : {false, true}) {
    TurnAround(bytes, DecodeRecords, [in_columns](const std::vector<Record>& records) {
      return EncodeRecords(records, in_columns);
    });
  }
}

// A payload that announces its size itself, in the 8 bytes at its end.
void TryChunk(std::string_view bytes) {
  FuzzedDataProvider data(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
  const uint64_t announced = data.ConsumeIntegral<uint64_t>();
  const std::string payload = data.ConsumeRemainingBytesAsString();
  if (const auto records = UnpackRecords(payload, announced)) CheckRecords(*records);
}

// As above, but compressed here: mutations do not find their way through zstd.
void TryCompressed(std::string_view bytes) {
  FuzzedDataProvider data(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
  const int off_by = data.ConsumeIntegralInRange(-64, 64);
  const std::string raw = data.ConsumeRemainingBytesAsString();
  std::string payload(ZSTD_compressBound(raw.size()), '\0');
  payload.resize(ZSTD_compress(payload.data(), payload.size(), raw.data(), raw.size(), 1));
  const auto announced = static_cast<int64_t>(raw.size()) + off_by;
  if (announced <= 0) return;
  const auto records = UnpackRecords(payload, static_cast<uint64_t>(announced));
  Require(!records || off_by == 0, "a chunk of another size than it announces is refused");
  Require(records.has_value() == (off_by == 0 && DecodeRecords(raw).has_value()),
          "compression changes nothing");
}

void TryXattrs(std::string_view bytes) { TurnAround(bytes, UnpackXattrs, PackXattrs); }

void TryDelta(std::string_view bytes) {
  FuzzedDataProvider data(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
  const std::string basis = data.ConsumeRandomLengthString(1 << 14);
  const auto length = data.ConsumeIntegralInRange<size_t>(0, 1 << 16);
  const auto content = ApplyDelta(basis, data.ConsumeRemainingBytesAsString(), length);
  Require(!content || content->size() == length, "a delta yields as much as it announces");
}

void TrySignature(std::string_view bytes) {
  FuzzedDataProvider data(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
  const std::string content = data.ConsumeRandomLengthString(1 << 14);
  const auto basis_bytes = data.ConsumeIntegralInRange<uint64_t>(0, kMaxDeltaWindow);
  const std::string signature = data.ConsumeRemainingBytesAsString();
  if (IsSignatureOf(basis_bytes, signature)) (void)MakeDelta(signature, content);
}

void Try(uint8_t which, std::string_view bytes) {
  switch (which % 8) {
    case 0:
      return TurnAround(bytes, DecodeRequest, EncodeRequest);
    case 1:
      return TurnAround(bytes, DecodeReply, EncodeReply);
    case 2:
      return TryRecords(bytes);
    case 3:
      return TryChunk(bytes);
    case 4:
      return TryCompressed(bytes);
    case 5:
      return TryXattrs(bytes);
    case 6:
      return TryDelta(bytes);
    default:
      return TrySignature(bytes);
  }
}

}  // namespace
}  // namespace tandem::replica

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  tandem::replica::Try(data[0], {reinterpret_cast<const char*>(data) + 1, size - 1});
  return 0;
}
