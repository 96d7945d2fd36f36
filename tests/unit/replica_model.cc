#include "tests/unit/replica_model.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <set>
#include <sstream>

#include "meta/base/unique_fd.h"
#include "replica/apply/file_data.h"

namespace tandem::replica {
namespace {

using meta::Kind;

std::string Describe(const meta::Attributes& a, const std::string& content) {
  std::ostringstream text;
  text << meta::NameOf(a.kind) << " mode " << std::oct << a.permissions << std::dec << " owner "
       << a.uid << ":" << a.gid << " size " << a.size << " device " << a.device << " time "
       << a.modify_time.seconds << "." << a.modify_time.nanoseconds << " target " << a.link_target
       << " content " << std::hash<std::string>()(content);
  for (const auto& [name, value] : a.xattrs) text << " " << name << "=" << value;
  return text.str();
}

// Every path of one object names the group by its first path.
void AddLinkGroups(Picture& picture, const std::map<std::string, std::string>& identity) {
  std::map<std::string, std::string> first;
  for (const auto& [path, object] : identity) first.emplace(object, path);
  for (auto& [path, text] : picture) text += " same as " + first[identity.at(path)];
}

}  // namespace

bool operator==(const ModelObject& a, const ModelObject& b) {
  return Describe(a.attributes, a.content) == Describe(b.attributes, b.content);
}

Model::Model() {
  ModelObject root;
  root.attributes.kind = Kind::kDirectory;
  root.attributes.permissions = 0755;
  objects[kRootObject] = root;
  Touch(kRootObject);
}

ObjectId Model::At(const std::string& path) const {
  ObjectId at = kRootObject;
  std::istringstream parts(path);
  for (std::string part; std::getline(parts, part, '/');) {
    const auto entry = entries.find({at, part});
    if (entry == entries.end()) return ObjectId();
    at = entry->second;
  }
  return at;
}

EntryKey Model::KeyOf(const std::string& path) const {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return {kRootObject, path};
  return {At(path.substr(0, slash)), path.substr(slash + 1)};
}

void Model::Touch(ObjectId object) {
  objects[object].attributes.modify_time = {++clock, static_cast<uint32_t>(clock % 1000) * 1001};
  objects[object].attributes.access_time = objects[object].attributes.modify_time;
}

ObjectId Model::Make(const std::string& path, Kind kind, const std::string& content) {
  const EntryKey key = KeyOf(path);
  const ObjectId id(7, next_id++);
  ModelObject object;
  object.attributes.kind = kind;
  object.attributes.permissions = kind == Kind::kSymlink ? 0777 : 0640;
  if (kind == Kind::kDirectory) object.attributes.permissions = 0750;
  if (kind == Kind::kSymlink) object.attributes.link_target = "target-of-" + key.name;
  if (kind == Kind::kCharDevice || kind == Kind::kBlockDevice) {
    object.attributes.device = makedev(1, 3);
  }
  if (kind == Kind::kFile) object.content = content;
  object.attributes.size = object.content.size();
  objects[id] = object;
  entries[key] = id;
  Touch(id);
  Touch(key.parent);
  DropUnnamed();
  return id;
}

void Model::Write(const std::string& path, size_t offset, const std::string& bytes) {
  ModelObject& object = objects.at(At(path));
  if (object.content.size() < offset + bytes.size()) object.content.resize(offset + bytes.size());
  object.content.replace(offset, bytes.size(), bytes);
  object.attributes.size = object.content.size();
  Touch(At(path));
}

void Model::Resize(const std::string& path, size_t size) {
  objects.at(At(path)).content.resize(size);
  objects.at(At(path)).attributes.size = size;
  Touch(At(path));
}

void Model::Rename(const std::string& from, const std::string& to) {
  const EntryKey source = KeyOf(from);
  const EntryKey target = KeyOf(to);
  const ObjectId object = entries.at(source);
  if (At(to) == object) return;
  entries.erase(source);
  entries[target] = object;
  Touch(source.parent);
  Touch(target.parent);
  DropUnnamed();
}

void Model::Exchange(const std::string& a, const std::string& b) {
  std::swap(entries.at(KeyOf(a)), entries.at(KeyOf(b)));
  Touch(KeyOf(a).parent);
  Touch(KeyOf(b).parent);
}

void Model::Link(const std::string& from, const std::string& to) {
  entries[KeyOf(to)] = At(from);
  Touch(KeyOf(to).parent);
}

void Model::Remove(const std::string& path) {
  const EntryKey key = KeyOf(path);
  entries.erase(key);
  Touch(key.parent);
  DropUnnamed();
}

void Model::Change(const std::string& path, uint32_t permissions, uint32_t uid,
                   meta::Xattrs xattrs) {
  meta::Attributes& attributes = objects.at(At(path)).attributes;
  if (attributes.kind != Kind::kSymlink) attributes.permissions = permissions;
  attributes.uid = uid;
  if (attributes.kind == Kind::kFile || attributes.kind == Kind::kDirectory) {
    attributes.xattrs = std::move(xattrs);
  }
}

// Until nothing changes: directories that lose their name take their contents along.
void Model::DropUnnamed() {
  while (true) {
    std::set<ObjectId> named = {kRootObject};
    for (const auto& [key, child] : entries) {
      if (objects.contains(key.parent)) named.insert(child);
    }
    const size_t before = objects.size() + entries.size();
    std::erase_if(objects, [&](const auto& object) { return !named.contains(object.first); });
    std::erase_if(entries,
                  [&](const auto& entry) { return !objects.contains(entry.first.parent); });
    if (objects.size() + entries.size() == before) return;
  }
}

bool Model::IsInside(ObjectId directory, ObjectId ancestor) const {
  while (directory != kRootObject) {
    if (directory == ancestor) return true;
    const auto entry = std::ranges::find_if(
        entries, [&](const auto& candidate) { return candidate.second == directory; });
    directory = entry->first.parent;
  }
  return ancestor == kRootObject;
}

std::vector<std::string> Model::Paths() const {
  std::vector<std::string> paths;
  for (const auto& [path, text] : PictureOf(*this)) {
    if (path != ".") paths.push_back(path);
  }
  return paths;
}

void Model::Mutate(std::mt19937& random) {
  std::vector<std::string> all = Paths();
  std::vector<std::string> directories = {""};
  std::vector<std::string> files;
  for (const std::string& path : all) {
    const Kind kind = objects.at(At(path)).attributes.kind;
    if (kind == Kind::kDirectory) directories.push_back(path + "/");
    if (kind == Kind::kFile) files.push_back(path);
  }
  const auto pick = [&](const std::vector<std::string>& from) {
    return from[random() % from.size()];
  };
  const auto somewhere = [&] { return pick(directories) + "n" + std::to_string(random() % 12); };
  const auto is_directory = [&](const std::string& path) {
    return objects.at(At(path)).attributes.kind == Kind::kDirectory;
  };
  const unsigned dice = random() % 20;
  if (dice < 6 || all.empty()) {
    const std::string path = somewhere();
    if (!At(path).is_null() && is_directory(path)) return;
    static constexpr Kind kKinds[] = {Kind::kFile,      Kind::kFile,      Kind::kFile,
                                      Kind::kDirectory, Kind::kDirectory, Kind::kSymlink,
                                      Kind::kFifo,      Kind::kSocket,    Kind::kCharDevice};
    Make(path, kKinds[random() % std::size(kKinds)], std::string(random() % 9000, 'a' + dice));
  } else if (dice < 11) {
    const std::string from = pick(all);
    const std::string to = somewhere();
    const ObjectId target = At(to);
    if (is_directory(from) && IsInside(KeyOf(to).parent, At(from))) return;
    if (!target.is_null() && (IsInside(KeyOf(from).parent, target) || target == At(from))) return;
    Rename(from, to);
  } else if (dice < 13) {
    const std::string a = pick(all);
    const std::string b = pick(all);
    if (At(a) == At(b) || IsInside(KeyOf(a).parent, At(b)) || IsInside(KeyOf(b).parent, At(a)))
      return;
    Exchange(a, b);
  } else if (dice < 15) {
    Remove(pick(all));
  } else if (dice == 15) {
    const std::string from = pick(all);
    const std::string to = somewhere();
    if (!is_directory(from) && At(to).is_null()) Link(from, to);
  } else if (dice == 16) {
    Change(pick(all), 0700 + random() % 64, random() % 3,
           {{"user.x", std::to_string(random() % 5)}});
  } else if (!files.empty()) {
    const std::string path = pick(files);
    if (dice == 17) {
      Resize(path, random() % 12000);
    } else {
      Write(path, random() % 8192, std::string(random() % 4096 + 1, 'A' + random() % 26));
    }
  }
}

// ---- Records -----------------------------------------------------------------------------------

namespace {

void AddData(std::vector<Record>& records, ObjectId id, const std::string& content, size_t from,
             bool fresh) {
  constexpr size_t kPiece = 4096;
  for (size_t at = from; at < content.size(); at += kPiece) {
    const std::string piece = content.substr(at, kPiece);
    const bool zeros = piece.find_first_not_of('\0') == std::string::npos;
    records.push_back(DataRecord{id,
                                 at,
                                 piece.size(),
                                 zeros ? Encoding::kHole : Encoding::kLiteral,
                                 zeros ? "" : piece,
                                 {},
                                 0,
                                 0,
                                 0,
                                 fresh});
  }
}

}  // namespace

std::vector<Record> RecordsBetween(const Model& before, const Model& after, std::mt19937& random) {
  std::vector<Record> records;
  for (const auto& [id, object] : after.objects) {
    const auto old = before.objects.find(id);
    const bool is_new = old == before.objects.end();
    if (!is_new && old->second == object) continue;
    records.push_back(ObjectRecord{id, is_new, true, object.attributes});
    if (is_new) {
      // Some of the new files are moved in, others written.
      AddData(records, id, object.content, 0, id.low() % 2 == 0);
    } else if (old->second.content != object.content) {
      const auto difference = std::ranges::mismatch(old->second.content, object.content);
      const auto same = static_cast<size_t>(difference.in2 - object.content.begin());
      AddData(records, id, object.content, same, false);
    }
  }
  std::vector<Record> entries;
  for (const auto& [key, child] : before.entries) {
    if (!after.entries.contains(key) && after.objects.contains(key.parent)) {
      entries.push_back(EntryRecord{key.parent, key.name, {}});
    }
  }
  for (const auto& [key, child] : after.entries) {
    const auto old = before.entries.find(key);
    if (old == before.entries.end() || old->second != child) {
      entries.push_back(EntryRecord{key.parent, key.name, child});
    }
  }
  std::vector<Record> mixed;
  for (size_t next = 0; next < records.size() || !entries.empty();) {
    const bool take_entry = !entries.empty() && (next == records.size() || random() % 3 == 0);
    if (take_entry) {
      mixed.push_back(std::move(entries.back()));
      entries.pop_back();
    } else {
      mixed.push_back(std::move(records[next++]));
    }
  }
  return mixed;
}

// ---- Pictures ----------------------------------------------------------------------------------

Picture PictureOf(const Model& model) {
  Picture picture;
  std::map<std::string, std::string> identity;
  std::vector<std::pair<std::string, ObjectId>> queue = {{".", kRootObject}};
  while (!queue.empty()) {
    const auto [path, id] = queue.back();
    queue.pop_back();
    const ModelObject& object = model.objects.at(id);
    picture[path] = Describe(object.attributes, object.content);
    identity[path] = id.ToHex();
    for (auto entry = model.entries.lower_bound({id, ""});
         entry != model.entries.end() && entry->first.parent == id; ++entry) {
      queue.emplace_back(path == "." ? entry->first.name : path + "/" + entry->first.name,
                         entry->second);
    }
  }
  AddLinkGroups(picture, identity);
  return picture;
}

Picture PictureOf(const std::string& directory) {
  Picture picture;
  std::map<std::string, std::string> identity;
  const auto add = [&](const std::string& path, const std::string& full) {
    const UniqueFd fd(open(full.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
    struct stat stat_buffer;
    fstat(fd.get(), &stat_buffer);
    const auto attributes = meta::ReadAttributes(fd.get(), meta::WithXattrs::kYes).value();
    std::string content;
    if (attributes.kind == Kind::kFile) {
      const UniqueFd file(open(full.c_str(), O_RDONLY | O_CLOEXEC));
      content = ReadUpTo(file.get(), 0, attributes.size).value();
    }
    picture[path] = Describe(attributes, content);
    identity[path] = std::to_string(stat_buffer.st_ino);
  };
  add(".", directory);
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory)) {
    add(std::filesystem::relative(entry.path().parent_path(), directory) == "."
            ? entry.path().filename().string()
            : entry.path().string().substr(directory.size() + 1),
        entry.path().string());
  }
  AddLinkGroups(picture, identity);
  return picture;
}

std::string Difference(const Picture& expected, const Picture& found) {
  for (const auto& [path, text] : expected) {
    const auto it = found.find(path);
    if (it == found.end()) return "missing: " + path + ": " + text;
    if (it->second != text) return path + ":\n  expected " + text + "\n  found    " + it->second;
  }
  for (const auto& [path, text] : found) {
    if (!expected.contains(path)) return "extra: " + path + ": " + text;
  }
  return "";
}

}  // namespace tandem::replica
