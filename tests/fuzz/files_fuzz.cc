// Every reader of files that a crash, a failing disk or another user may have left in a volume:
// stages, the marker, the volume's identity, rows of replica.db. The first byte of an input says
// which reader the rest is for.
#include <fcntl.h>
#include <fuzzer/FuzzedDataProvider.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <vector>

#include "meta/base/database.h"
#include "replica/apply/catalog.h"
#include "replica/apply/marker.h"
#include "replica/apply/stage.h"
#include "replica/wire/chunk_payload.h"
#include "replica/wire/little_endian.h"
#include "tests/fuzz/lib/fuzz.h"

namespace tandem::replica {
namespace {

using fuzz::PutFile;
using fuzz::Require;
using fuzz::ScratchPath;

constexpr VolumeId kVolume(7, 7);
constexpr CutId kStage(1, 2);
constexpr LifeId kStoreLife(3, 4);

int Directory() {
  static const UniqueFd fd(open(ScratchPath().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  return fd.get();
}

// ---- Stages ------------------------------------------------------------------------------------

void TryStage(std::string_view bytes) {
  const std::string name = kStage.ToHex() + ".stage";
  PutFile(ScratchPath() + "/" + name, bytes);
  const auto stage = Stage::Recover(Directory(), name, kVolume);
  if (!stage) {
    const auto open = Stage::RecoverOpen(Directory(), name, kVolume, kStoreLife);
    if (!open) return;
    const auto chunks = (*open)->Resume(kStage);
    Require(!chunks || !*chunks || (*open)->chunk_count() == **chunks, "only what is whole stays");
    return;
  }
  const CommitRecord record = (*stage)->commit_record();
  Require(record.cut.epoch <= kNewestEpoch, "a committed stage leads to a cut that can be");
  Require((*stage)->CheckComplete(record.chunk_count, record.digest).has_value(),
          "a committed stage is complete");
  uint64_t literal_bytes = 0;
  for (uint64_t sequence = 0; sequence < (*stage)->chunk_count(); ++sequence) {
    const auto records = (*stage)->Read(sequence);
    Require(records.has_value(), "what was read once can be read again");
    literal_bytes += Stage::ContentIn(*records).literal;
    const auto* outline = (*stage)->Outlines().at(sequence);
    Require(outline->record_count == records->size(), "an outline is of its chunk");
  }
  Require(literal_bytes == (*stage)->content().literal, "the content is counted once");
}

// A stage file with checksums that are right, which mutations alone do not come by.
std::string FramesFrom(FuzzedDataProvider& data) {
  std::string file;
  const auto add = [&file](uint32_t kind, uint64_t sequence, uint64_t raw_size, uint64_t size,
                           uint64_t received, const std::string& payload) {
    Packer packer;
    packer.Number(uint64_t{kind} << 32 | 0x31534654).Number(sequence).Number(raw_size).Number(size);
    packer.Number(received).Number(ChecksumOf(payload));
    file += packer.Number(ChecksumOf(packer.bytes())).bytes() + payload;
  };
  const auto add_plain = [&add](uint32_t kind, const std::string& payload) {
    add(kind, 0, 0, payload.size(), 0, payload);
  };
  const VolumeId volume = data.ConsumeProbability<double>() < 0.95 ? kVolume : VolumeId(3, 3);
  add_plain(
      1, Packer().Id(volume).Id(kStage).Number(data.ConsumeIntegral<uint8_t>()).Id(kStage).bytes());
  std::vector<uint64_t> checksums;
  while (data.remaining_bytes() > 0 && checksums.size() < 16) {
    const auto kind = data.ConsumeIntegralInRange<uint32_t>(0, 6);
    const std::string payload = data.ConsumeRandomLengthString(4096);
    const uint64_t odd = data.ConsumeBool() ? data.ConsumeIntegral<uint64_t>() : 0;
    if (kind == 0) {
      add(data.ConsumeIntegral<uint32_t>(), odd, odd, payload.size(), odd, payload);
    } else if (kind == 3) {
      add_plain(3, payload);
    } else {
      add(2, odd != 0 ? odd : checksums.size(), kind == 4 ? odd : 0,
          kind == 5 ? odd : payload.size(), ChecksumOf(payload), payload);
      checksums.push_back(ChecksumOf(payload));
    }
  }
  add_plain(3, Packer()
                   .Number(9)
                   .Id(kStage)
                   .Number(0)
                   .Number(checksums.size())
                   .Number(DigestOf(checksums))
                   .bytes());
  return file;
}

// ---- The marker and the identity ---------------------------------------------------------------

void TryMarker(std::string_view bytes) {
  PutFile(ScratchPath() + "/applied", bytes);
  const auto marker = ReadMarker(Directory());
  if (!marker) return;
  Require(marker->cut.name.epoch <= kNewestEpoch, "a marker names a cut that can be");
  Require(WriteMarker(Directory(), *marker).has_value(), "a marker that was read can be written");
  const auto again = ReadMarker(Directory());
  Require(again && again->cut.name == marker->cut.name && again->state == marker->state &&
              again->identity.volume == marker->identity.volume,
          "a marker is what was written");
}

void TryIdentity(std::string_view bytes) {
  PutFile(ScratchPath() + "/volume", bytes);
  const auto identity = ReadIdentity(Directory());
  if (!identity) return;
  Require(WriteIdentity(Directory(), *identity).has_value(), "an identity can be written");
  const auto again = ReadIdentity(Directory());
  Require(again && again->volume == identity->volume, "an identity is what was written");
}

// ---- The catalog -------------------------------------------------------------------------------

constexpr ObjectId kFile(3, 4);
constexpr ObjectId kDirectory(5, 6);

// The bytes of a catalog with a file and a directory.
const std::string& SoundCatalog() {
  static const std::string path = [] {
    std::string made = ScratchPath() + "/sound.db";
    auto catalog = Catalog::Open(made).value();
    auto part = catalog->Begin().value();
    meta::Attributes directory;
    directory.kind = meta::Kind::kDirectory;
    Require(catalog->Put(kFile, {{ObjectId(8, 8)}, {}}, Epoch(1)).has_value() &&
                catalog->Put(kDirectory, {{ObjectId(9, 9)}, directory}, Epoch(1)).has_value() &&
                catalog->SetEntry({kRootObject, "d"}, kDirectory, Epoch(1)).has_value() &&
                catalog->SetEntry({kDirectory, "f"}, kFile, Epoch(1)).has_value() &&
                catalog->lacking().Note(kFile, "user.a", "setuid").has_value() &&
                catalog->short_objects().Note({kFile, false, "why"}).has_value() &&
                part.Release().has_value() && catalog->Keep().has_value(),
            "a catalog can be made");
    return made;
  }();
  return path;
}

// One value that SQLite keeps, of any type it has, whatever the column was made for.
void BindAny(Statement& statement, int index, FuzzedDataProvider& data) {
  switch (data.ConsumeIntegralInRange(0, 4)) {
    case 0:
      statement.Bind(index, data.ConsumeIntegral<int64_t>());
      return;
    case 1:
      statement.Bind(index, data.ConsumeIntegralInRange<int64_t>(-2, 10));
      return;
    case 2:
      statement.BindText(index, data.ConsumeRandomLengthString(300));
      return;
    case 3:
      statement.BindNull(index);
      return;
    default:
      statement.BindBlob(index, data.ConsumeRandomLengthString(300));
  }
}

void DamageCatalog(const std::string& path, FuzzedDataProvider& data) {
  static const std::vector<std::string> columns = {
      "object SET id",          "object SET kind",        "object SET inode",
      "object SET permissions", "object SET uid",         "object SET size",
      "object SET device",      "object SET link_count",  "object SET access_ns",
      "object SET modify_s",    "object SET link_target", "object SET xattrs",
      "object SET cut",         "entry SET parent",       "entry SET name",
      "entry SET child",        "applied SET epoch",      "applied SET cut",
      "lacking SET object",     "lacking SET xattrs",     "short SET object",
      "short SET by_name",      "short SET reason"};
  auto database = Database::Open(path, Database::Sync::kOff).value();
  const int times = data.ConsumeIntegralInRange(1, 4);
  for (int i = 0; i < times; ++i) {
    const std::string& column = columns[data.ConsumeIntegralInRange<size_t>(0, columns.size() - 1)];
    auto statement = database.Prepare("UPDATE OR IGNORE " + column + " = ?").value();
    BindAny(statement, 1, data);
    (void)statement.Run();
  }
}

void TryCatalog(FuzzedDataProvider& data) {
  const std::string path = ScratchPath() + "/replica.db";
  for (const char* suffix : {"-wal", "-shm"}) unlink((path + suffix).c_str());
  std::filesystem::copy_file(SoundCatalog(), path,
                             std::filesystem::copy_options::overwrite_existing);
  DamageCatalog(path, data);
  auto opened = Catalog::Open(path);
  if (!opened) return;
  Catalog& catalog = **opened;
  for (const ObjectId& object : {kRootObject, kFile, kDirectory}) {
    const auto found = catalog.Find(object);
    if (found && *found) {
      Require((*found)->attributes.size <= ByteRange::kEndOfFile, "a size fits off_t");
      Require((*found)->attributes.permissions <= 07777, "permissions are permissions");
      Require((*found)->changed <= kNewestEpoch, "an object was changed by a cut that can be");
    }
    (void)catalog.FindKind(object);
    (void)catalog.NamesOf(object);
    (void)catalog.short_objects().Find(object);
    const auto entries = catalog.EntriesOf(object);
    if (!entries) continue;
    for (const CatalogEntry& entry : *entries) {
      Require(entry.name != ".." && entry.name.find('/') == std::string::npos &&
                  entry.name.find('\0') == std::string::npos,
              "a name stays in its directory");
    }
  }
  (void)catalog.ChildOf({kRootObject, "d"});
  (void)catalog.FindInode({ObjectId(8, 8)});
  (void)catalog.lacking().Count();
  (void)catalog.lacking().ListWithheld(10);
  (void)catalog.Totals();
  (void)catalog.short_objects().List(10);
  (void)catalog.short_objects().ListByName();
  if (const auto applied = catalog.Applied()) {
    Require(applied->name.epoch <= kNewestEpoch, "the catalog is at a cut that can be");
  }
}

void Try(uint8_t which, const uint8_t* bytes, size_t size) {
  FuzzedDataProvider data(bytes, size);
  switch (which % 5) {
    case 0:
      return TryStage({reinterpret_cast<const char*>(bytes), size});
    case 1:
      return TryStage(FramesFrom(data));
    case 2:
      return TryMarker({reinterpret_cast<const char*>(bytes), size});
    case 3:
      return TryIdentity({reinterpret_cast<const char*>(bytes), size});
    default:
      return TryCatalog(data);
  }
}

}  // namespace
}  // namespace tandem::replica

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  tandem::fuzz::BeQuiet();
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  tandem::replica::Try(data[0], data + 1, size - 1);
  return 0;
}
