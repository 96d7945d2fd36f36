#include "replica/wire/record_digest.h"

#include <xxhash.h>

#include "replica/wire/little_endian.h"

namespace tandem::replica {
namespace {

void Pack(Packer& packer, const meta::Timestamp& time) {
  packer.Number(static_cast<uint64_t>(time.seconds)).Number(time.nanoseconds);
}

void Pack(Packer& packer, std::string_view bytes) { packer.Number(bytes.size()).Bytes(bytes); }

}  // namespace

uint64_t DigestOf(const ObjectRecord& record) {
  const meta::Attributes& attributes = record.attributes;
  Packer packer;
  packer.Id(record.object).Number(record.whole).Number(record.with_xattrs);
  packer.Number(static_cast<uint64_t>(attributes.kind)).Number(attributes.permissions);
  packer.Number(attributes.uid).Number(attributes.gid).Number(attributes.size);
  packer.Number(attributes.device).Number(attributes.link_count);
  Pack(packer, attributes.modify_time);
  Pack(packer, attributes.change_time);
  Pack(packer, attributes.link_target);
  for (const auto& [name, value] : attributes.xattrs) {
    Pack(packer, name);
    Pack(packer, value);
  }
  return XXH3_64bits(packer.bytes().data(), packer.bytes().size());
}

}  // namespace tandem::replica
