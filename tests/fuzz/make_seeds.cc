// make_fuzz_seeds CORPUS: writes inputs that the fuzz targets begin with into CORPUS/TARGET/: one
// of each kind of message, file and text. Searching finds the rest; run.sh --keep adds it.
#include <fcntl.h>
#include <sys/stat.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "replica/apply/marker.h"
#include "replica/apply/stage.h"
#include "replica/delta.h"
#include "replica/wire/chunk_payload.h"
#include "replica/wire/messages.h"
#include "replica/wire/xattr_codec.h"
#include "tests/fuzz/lib/fuzz.h"

namespace tandem::replica {
namespace {

const ObjectId kA(1, 2);
const CutId kStage(1, 2);
const CutName kBase{Epoch(7), CutId(5, 6)};
const CutName kCut{Epoch(9), CutId(7, 8)};

class Corpus {
 public:
  Corpus(const std::string& corpus, const std::string& target) : directory_(corpus + "/" + target) {
    std::filesystem::create_directories(directory_);
  }
  // `which`: the first byte, which chooses the decoder.
  void Add(uint8_t which, const std::string& bytes) {
    fuzz::PutFile(directory_ + "/seed-" + std::to_string(count_++),
                  std::string(1, static_cast<char>(which)) + bytes);
  }

 private:
  const std::string directory_;
  int count_ = 0;
};

meta::Attributes SomeAttributes() {
  meta::Attributes attributes;
  attributes.kind = meta::Kind::kFile;
  attributes.size = 12;
  attributes.xattrs = {{"user.name", "value"}};
  return attributes;
}

std::vector<Record> SomeRecords() {
  return {ObjectRecord{kA, true, true, SomeAttributes()},
          DataRecord{kA, 5, 3, Encoding::kLiteral, "abc", {}, 0, 0, 0},
          DataRecord{kA, 5, 3, Encoding::kHole, "", {}, 0, 0, 0},
          DataRecord{kA, 1, 2, Encoding::kDelta, "delta", ObjectId(3, 4), 10, 20, 30},
          EntryRecord{kRootObject, "name", kA}};
}

void MakeWire(Corpus corpus) {
  for (const RequestBody& body : std::initializer_list<RequestBody>{
           Hello{1, 1, "volume", VolumeId(1, 2), "host:/path", RunId(3, 4)},
           Begin{kStage, kBase, 5, LifeId(8, 9), 10}, GetStaged{kStage, {kA, kRootObject}},
           Chunk{kStage, 1, 0, 3, "payload"}, Commit{kStage, kBase, kCut, 1, 2, 3},
           Increment{{kStage, kBase, 0, LifeId(8, 9), 10},
                     {kStage, 0, 0, 3, "payload"},
                     {kStage, kBase, kCut, 1, 1, 3},
                     4},
           WaitApplied{kCut, 5}, GetSignature{kA, 1, 2}, List{kA, Origin::kDisk, "after", true},
           Find{{kA, kRootObject}, Origin::kDisk, true},
           GetDigests{kA, 4096, 8192, {4096, HashAlgorithm::kMd5, true}}}) {
    corpus.Add(0, EncodeRequest({SessionId(1, 1), body}));
  }
  const Listed listed{"known", kA, SomeAttributes(), Epoch(3)};
  Position position{SessionId(1, 1), 1, kCut, kBase, false, "notice"};
  position.short_objects = {{kA, "d/file", "too large", false}};
  for (const ReplyBody& body :
       std::initializer_list<ReplyBody>{{},
                                        position,
                                        Signature{"bytes", 7},
                                        Listing{{listed}, true},
                                        Found{{listed, {}}},
                                        Digests{9, 2, "aabb"},
                                        Resumed{3, 4},
                                        StagedObjects{{{true, 5, {{1, 2}, {4, 8}}}, {}}}}) {
    corpus.Add(1, EncodeReply({ReplyCode::kMissingObjects, "text", {kA}, body}));
  }
  const std::string records = EncodeRecords(SomeRecords());
  corpus.Add(2, records);
  corpus.Add(3, records + std::string(8, '\0'));
  corpus.Add(4, records + std::string(4, '\0'));
  corpus.Add(5, PackXattrs({{"user.a", "b"}, {"user.c", ""}}));
  const std::string basis(3000, 'b');
  const std::string signature = MakeSignature(basis).value();
  corpus.Add(6, basis + "\\" + MakeDelta(signature, basis + "more").value());
  corpus.Add(7, "content\\" + signature);
}

void MakeFiles(Corpus corpus) {
  const std::string& scratch = fuzz::ScratchPath();
  const UniqueFd directory(open(scratch.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  const auto content = [&scratch](const std::string& name) {
    std::ifstream file(scratch + "/" + name, std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(file), {});
  };
  const auto stage = Stage::Create(directory.get(), VolumeId(7, 7), kStage, kBase).value();
  const std::string payload = EncodeRecords(SomeRecords());
  (void)stage->Append({0, 0, ChecksumOf(payload), payload}, OutlineOf(SomeRecords()));
  (void)stage->Commit({kCut, 1, 1, DigestOf({ChecksumOf(payload)})});
  corpus.Add(0, content(stage->name()));
  const VolumeIdentity identity{VolumeId(7, 7), "volume"};
  (void)WriteMarker(directory.get(), {identity, TreeState::kApplied, {kCut, 5}});
  corpus.Add(2, content("applied"));
  (void)WriteIdentity(directory.get(), identity);
  corpus.Add(3, content("volume"));
  std::filesystem::remove_all(scratch);
}

void MakeText(Corpus corpus) {
  for (const char* url : {"tcp://Host:7447", "tcp://[::1]:1", "tcp://*:0", "ipc:///run/../a//b",
                          "tls://10.0.0.1", "ssh://user@host:22/run/socket"}) {
    corpus.Add(0, url);
    corpus.Add(1, url);
  }
  corpus.Add(2, "1.5h");
  corpus.Add(3, "stauts");
  corpus.Add(4, "\x1b[31m\xe2\x80\xae\xff\\x41");
  corpus.Add(5, kA.ToHex());
  corpus.Add(6,
             "store = \"/srv\"\nlisten = [\"tcp://a\", \"ipc:///b\"]\nstore-mode = \"0755\"\n"
             "insecure-plaintext = true\n");
  corpus.Add(
      7,
      "tandem-invite-1.eyJhZGRyZXNzZXMiOlsiaDo3NDQ3Il0sImF1dGhvcml0eSI6IiIsInNlY3JldCI6IiIsIm"
      "FjY291bnQiOiJhIn0");
  corpus.Add(8, "ssh://user@host:22/run/socket");
  corpus.Add(9, R"({"format": 1, "accounts": [{"name": "a", "volumes": ["*"], "keys": []}]})");
}

}  // namespace
}  // namespace tandem::replica

int main(int argc, char** argv) {
  using tandem::replica::MakeFiles;
  using tandem::replica::MakeText;
  using tandem::replica::MakeWire;
  if (argc != 2) {
    std::fputs("usage: make_fuzz_seeds CORPUS\n", stderr);
    return 2;
  }
  MakeWire({argv[1], "wire"});
  MakeFiles({argv[1], "files"});
  MakeText({argv[1], "text"});
}
