// The names that stages set or remove, each once: the last record of a name counts. Refers to the
// outlines of the stages, which must outlive it, because a first copy has millions of names.
//
// One thread.
#pragma once

#include <algorithm>
#include <iterator>
#include <unordered_set>
#include <vector>

#include "meta/base/ids.h"
#include "replica/wire/outline.h"

namespace tandem::replica {

class PlannedEntries {
  struct Hash {
    using is_transparent = void;
    size_t operator()(const EntryKey& key) const { return std::hash<EntryKey>()(key); }
    size_t operator()(const Outline::Entry* entry) const { return (*this)(entry->key); }
  };
  struct Same {
    using is_transparent = void;
    static const EntryKey& KeyOf(const EntryKey& key) { return key; }
    static const EntryKey& KeyOf(const Outline::Entry* entry) { return entry->key; }
    bool operator()(const auto& a, const auto& b) const { return KeyOf(a) == KeyOf(b); }
  };
  using Entries = std::unordered_set<const Outline::Entry*, Hash, Same>;

 public:
  class Iterator {
   public:
    using iterator_category = std::forward_iterator_tag;
    using value_type = Outline::Entry;
    using difference_type = std::ptrdiff_t;
    using pointer = const Outline::Entry*;
    using reference = const Outline::Entry&;

    Iterator() = default;
    explicit Iterator(Entries::const_iterator at) : at_(at) {}
    reference operator*() const { return **at_; }
    pointer operator->() const { return *at_; }
    Iterator& operator++() {
      ++at_;
      return *this;
    }
    Iterator operator++(int) { return Iterator(at_++); }
    friend bool operator==(const Iterator&, const Iterator&) = default;

   private:
    Entries::const_iterator at_;
  };

  Iterator begin() const { return Iterator(set_.begin()); }
  Iterator end() const { return Iterator(set_.end()); }
  size_t size() const { return set_.size(); }
  bool contains(const EntryKey& key) const { return set_.contains(key); }
  // Returns null if the stages leave the name alone.
  const Outline::Entry* Find(const EntryKey& key) const {
    const auto found = set_.find(key);
    return found == set_.end() ? nullptr : *found;
  }
  // Replaces an earlier entry of the same name.
  void Set(const Outline::Entry& entry) {
    const auto [standing, is_new] = set_.insert(&entry);
    if (is_new) return;
    set_.erase(standing);
    set_.insert(&entry);
  }
  // Returns all in order of their keys.
  std::vector<const Outline::Entry*> InOrder() const {
    std::vector<const Outline::Entry*> entries(set_.begin(), set_.end());
    std::ranges::sort(entries, {},
                      [](const Outline::Entry* entry) -> const EntryKey& { return entry->key; });
    return entries;
  }
  template <typename Predicate>
  void EraseIf(const Predicate& predicate) {
    std::erase_if(set_, [&](const Outline::Entry* entry) { return predicate(*entry); });
  }

 private:
  Entries set_;
};

}  // namespace tandem::replica
