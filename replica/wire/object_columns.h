// Object records in columns: what neighbours have in common, or nearly, costs almost nothing once
// it is compressed (chmod -R, touch, rsync -t). A table ObjectColumns (replica/wire/wire.fbs)
// stands for its records at its place among the others.
//
// A column is a sequence of numbers, those of ids in eight bytes each, little endian, all others in
// LEB128. Most are differences to the record before (zero before
// the first), in zigzag form, modulo 2^64; those of the times of access and change are differences
// to the modification time of the same record.
//
// Any thread may call these functions.
#pragma once

#include <span>
#include <vector>

#include "replica/wire/messages.h"
#include "replica/wire/wire_codec.h"

namespace tandem::replica {

// Fewer are not worth a table of their own.
inline constexpr size_t kColumnsFrom = 4;

// Whether the record can stand in columns: it has nothing of variable length.
bool FitsColumns(const Record& record);
// Brings records to the order of their times of change, in which neighbours have most in common:
// that of a walk through a tree. Their order means nothing. Leaves them as they are if there is
// content to follow one of them, or an object has two records.
void SortForColumns(std::span<Record> records);
// Requires that all of them fit.
flatbuffers::Offset<wire::ObjectColumns> WriteColumns(WireBuilder& builder,
                                                      std::span<const Record> records);
// Appends the records to `records`, which then has at most `most`. Returns kProtocol if they are
// not what ObjectColumns describes.
Status ReadColumns(const wire::ObjectColumns& table, size_t most, std::vector<Record>& records);

}  // namespace tandem::replica
