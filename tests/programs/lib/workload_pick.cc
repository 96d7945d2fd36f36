#include "tests/programs/lib/workload_pick.h"

namespace tandem::workload {
namespace {

constexpr int kPatience = 5;  // Draws before accepting what does not fit.
constexpr int kMaxDepth = 7;

// Draws until `fits(stat)`; if nothing did, whatever was drawn last.
template <typename Draw, typename Fits>
Path DrawUntil(Actor& actor, Draw draw, Fits fits) {
  Path path;
  for (int i = 0; i < kPatience; ++i) {
    path = draw(actor);
    const auto found = Look(actor, path);
    if (found && fits(found->st_mode)) break;
  }
  return path;
}

Path DescendFrom(Actor& actor, Path here) {
  for (int depth = 1; depth < kMaxDepth; ++depth) {
    if (actor.random().OneIn(2)) break;
    const Path below = here / actor.names().Directory(&actor.random());
    const auto found = Look(actor, below);
    if (!found || !S_ISDIR(found->st_mode)) break;
    here = below;
  }
  return here;
}

}  // namespace

std::optional<struct stat> Look(Actor& actor, const Path& path) {
  struct stat found;
  if (!actor.Observe("lstat", lstat(path.bytes.c_str(), &found))) {
    return std::nullopt;
  }
  return found;
}

Path PickDirectory(Actor& actor) {
  return DescendFrom(actor, actor.random().OneIn(3) ? SharedArea() : actor.own_area());
}

Path PickOwnDirectory(Actor& actor) { return DescendFrom(actor, actor.own_area()); }

Path PickFileName(Actor& actor) {
  return PickDirectory(actor) / actor.names().File(&actor.random());
}

Path PickDirectoryName(Actor& actor) {
  return PickDirectory(actor) / actor.names().Directory(&actor.random());
}

Path PickFile(Actor& actor) {
  return DrawUntil(actor, PickFileName, [](mode_t mode) { return S_ISREG(mode); });
}

Path PickSubdirectory(Actor& actor) {
  return DrawUntil(actor, PickDirectoryName, [](mode_t mode) { return S_ISDIR(mode); });
}

Path PickEntry(Actor& actor) {
  if (actor.random().OneIn(4)) return PickSubdirectory(actor);
  return DrawUntil(actor, PickFileName, [](mode_t) { return true; });
}

Path PickObject(Actor& actor) {
  switch (actor.random().Below(32)) {
    case 0:
      return Path{"."};
    case 1:
      return SharedArea();
    case 2:
      return actor.own_area();
    default:
      return PickEntry(actor);
  }
}

}  // namespace tandem::workload
