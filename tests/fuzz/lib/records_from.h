// Makes records of a change set out of a fuzzer's input: a few objects, odd names, odd numbers,
// most of them such that they pass the decoder. One thread.
#pragma once

#include <fuzzer/FuzzedDataProvider.h>

#include <string>
#include <vector>

#include "replica/wire/messages.h"

namespace tandem::fuzz {

// One of a handful, the root among them; rarely a null id or one that was never heard of.
ObjectId ObjectFrom(FuzzedDataProvider& data);
// What someone who wants out would try, and what anybody uses.
std::string NameFrom(FuzzedDataProvider& data);
// An offset or a length: mostly small, sometimes near a power of two or the end of all files.
uint64_t NumberFrom(FuzzedDataProvider& data);

// If not `odd`, the records are ones that a source may send, though what they say together may make
// no sense.
std::vector<replica::Record> RecordsFrom(FuzzedDataProvider& data, bool odd);
// The whole object, without content.
replica::ObjectRecord WholeObject(ObjectId object);
// A tree with directories, files, one of them with two names, a symlink that leads out, and a FIFO.
std::vector<replica::Record> SmallTree();

}  // namespace tandem::fuzz
