#include "meta/filter/directory_filter.h"

#include <utility>

namespace tandem::meta {

struct DirectoryFilter::Level {
  Level(std::shared_ptr<const Level> parent_level, std::string_view own_name,
        std::optional<FilterRules> rules)
      : parent(std::move(parent_level)),
        name(own_name),
        anchor(parent ? parent->anchor + name.size() + 1 : 0),
        own_rules(std::move(rules)) {}
  Level(const Level&) = delete;
  Level& operator=(const Level&) = delete;

  // Destroys the levels above in a loop, without recursion: a tree can be deeper than the stack.
  ~Level() {
    using Pointer = std::shared_ptr<const Level>;
    static thread_local Pointer* handed_up = nullptr;  // where the loop, if it runs, takes the next
    if (handed_up != nullptr) {
      *handed_up = std::move(parent);
      return;
    }
    Pointer next;
    handed_up = &next;
    for (Pointer dying = std::move(parent); dying; dying = std::move(next)) dying.reset();
    handed_up = nullptr;
  }

  std::shared_ptr<const Level> parent;  // none for the root
  std::string name;
  size_t anchor;  // the length of the path from the root, with a slash behind it; 0 for the root
  std::optional<FilterRules> own_rules;
};

DirectoryFilter::DirectoryFilter(std::shared_ptr<const FilterRules> from_options,
                                 std::shared_ptr<const Level> level)
    : from_options_(std::move(from_options)), level_(std::move(level)) {}

DirectoryFilter DirectoryFilter::Root(FilterRules from_options,
                                      std::optional<FilterRules> own_rules) {
  return {std::make_shared<const FilterRules>(std::move(from_options)),
          std::make_shared<const Level>(nullptr, "", std::move(own_rules))};
}

DirectoryFilter DirectoryFilter::Child(std::string_view name,
                                       std::optional<FilterRules> own_rules) const {
  return {from_options_, std::make_shared<const Level>(level_, name, std::move(own_rules))};
}

bool DirectoryFilter::Includes(std::string_view name, bool is_directory) const {
  using Verdict = FilterRules::Verdict;
  std::string path(level_->anchor, '/');
  path += name;
  for (const Level* level = level_.get(); level->parent; level = level->parent.get()) {
    path.replace(level->parent->anchor, level->name.size(), level->name);
  }
  FilterSubject subject{.path = path, .is_directory = is_directory};
  Verdict verdict = from_options_->MatchBeforeDirectories(subject);
  for (const Level* level = level_.get(); level != nullptr && verdict == Verdict::kNoRule;
       level = level->parent.get()) {
    if (!level->own_rules) continue;
    subject.anchor = level->anchor;
    verdict = level->own_rules->Match(subject);
    if (level->own_rules->clears_inherited()) break;
  }
  subject.anchor = 0;
  if (verdict == Verdict::kNoRule) verdict = from_options_->MatchAfterDirectories(subject);
  return verdict != Verdict::kExcluded;
}

}  // namespace tandem::meta
