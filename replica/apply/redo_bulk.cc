#include "replica/apply/redo_bulk.h"

#include <algorithm>
#include <thread>

#include "meta/base/fault_point.h"
#include "replica/apply/special_attributes.h"
#include "replica/apply/tuning.h"

namespace tandem::replica {
namespace {

bool MayBeSpecial(const meta::Attributes& attributes) {
  return (attributes.permissions & kSetIdBits) != 0 || !attributes.xattrs.empty();
}

int ThreadCount() {
  const int processors = static_cast<int>(std::thread::hardware_concurrency());
  return std::clamp(processors, 1, kMostFileMakers);
}

}  // namespace

BulkMaker::BulkMaker(RedoState& state, bool some_are_damaged, TakeRecord take_record)
    : state_(state),
      take_record_(std::move(take_record)),
      enabled_(state.plan.objects().size() >= kBulkFrom && !some_are_damaged) {}

size_t BulkMaker::RecordsOf(const std::vector<Record>& records, size_t index,
                            uint64_t position) const {
  const auto* about = std::get_if<ObjectRecord>(&records[index]);
  if (about == nullptr || !about->whole || !about->with_xattrs) return 0;
  const meta::Attributes& attributes = about->attributes;
  if (attributes.kind != meta::Kind::kFile || attributes.size > kBulkFileBytes) return 0;
  if (!state_.place.may_set_special && MayBeSpecial(attributes)) return 0;
  const Plan::Object* planned = state_.plan.Find(about->object);
  if (planned == nullptr || planned->fate != Plan::Fate::kCreate || planned->whole != position ||
      planned->shortfall != Plan::Shortfall::kNone || planned->in_file) {
    return 0;
  }
  if (planned->last == position) return attributes.size == 0 ? 1 : 0;
  if (planned->last != position + 1 || index + 1 == records.size()) return 0;
  const auto* data = std::get_if<DataRecord>(&records[index + 1]);
  const bool is_all = data != nullptr && data->object == about->object &&
                      data->encoding == Encoding::kLiteral && data->offset == 0 &&
                      data->bytes.size() == attributes.size;
  return is_all ? 2 : 0;
}

Result<std::shared_ptr<FileMaker::Directory>> BulkMaker::Open(ObjectId directory) {
  if (directory_id_ == directory && directory_ != nullptr) return directory_;
  ASSIGN_OR_RETURN(Tree::Directory fd, state_.tree.OpenDirectory(directory));
  directory_id_ = directory;
  directory_ = fd == nullptr ? nullptr : std::make_shared<FileMaker::Directory>(std::move(fd));
  return directory_;
}

Result<size_t> BulkMaker::Take(const Records& chunk, size_t index, uint64_t position) {
  if (!enabled_) return 0;
  const size_t count = RecordsOf(*chunk, index, position);
  if (count == 0) return 0;
  const auto& about = std::get<ObjectRecord>((*chunk)[index]);
  ASSIGN_OR_RETURN(auto place, state_.PlaceToMake(about.object));
  if (!place) return 0;
  if (maker_ == nullptr) maker_ = FileMaker::Start(ThreadCount());
  enabled_ = maker_ != nullptr;
  if (!enabled_) return 0;
  const auto last_directory = directory_;
  ASSIGN_OR_RETURN(auto directory, Open(place->parent));
  if (directory == nullptr) return 0;
  state_.touched.insert(place->parent);

  // Threads that make files in one directory wait for each other.
  const bool fits = batch_ != nullptr && batch_->records == chunk && directory == last_directory;
  if (batch_ != nullptr && !fits) HandOver();
  if (std::exchange(chunk_, chunk.get()) != chunk.get()) ++chunks_;
  if (batch_ == nullptr) {
    batch_ = std::make_unique<Batch>();
    batch_->records = chunk;
  }
  FileMaker::File& file = batch_->files.emplace_back();
  file.object = about.object;
  file.position = position;
  file.record = index;
  file.record_count = count;
  file.name = std::move(place->name);
  file.directory = std::move(directory);
  file.attributes = &about.attributes;
  if (count == 2) file.content = std::get<DataRecord>((*chunk)[index + 1]).bytes;
  batch_->bytes += file.content.size();
  if (batch_->files.size() == kBulkBatchFiles || batch_->bytes >= kBulkBatchBytes) HandOver();
  RETURN_IF_ERROR(TakeBack());
  return count;
}

void BulkMaker::HandOver() {
  under_way_.push_back(chunks_);
  maker_->Put(std::move(batch_));
}

Status BulkMaker::TakeBack() {
  while (!under_way_.empty()) {
    const bool are_many =
        under_way_.size() > kBulkBatches || under_way_.front() + kBulkChunks <= chunks_;
    const auto batch = maker_->Take(/*wait=*/are_many);
    if (batch == nullptr) return {};
    under_way_.pop_front();
    RETURN_IF_ERROR(Settle(*batch));
  }
  return {};
}

Status BulkMaker::Settle(Batch& batch) {
  Catalog& catalog = state_.place.catalog;
  state_.notices.owner |= batch.notices.owner;
  state_.notices.mode |= batch.notices.mode;
  for (const FileMaker::File& file : batch.files) {
    RETURN_IF_ERROR(state_.CheckStopping());
    if (!file.made) {
      for (size_t i = 0; i < file.record_count; ++i) {
        RETURN_IF_ERROR(take_record_((*batch.records)[file.record + i], file.position + i));
      }
      continue;
    }
    state_.plan.NoteMadeInPlace(file.object);
    if (state_.place.written != nullptr) {
      state_.place.written->Note(file.object, 0, file.content.size());
    }
    FAULT_POINT("replica.redo.entry_placed");
    RETURN_IF_ERROR(catalog.Add(file.object, {file.inode, *file.attributes}, state_.epoch));
    RETURN_IF_ERROR(catalog.digests().Add(file.object, file.digests));
    if (file.unset.empty()) continue;
    RETURN_IF_ERROR(catalog.lacking().Note(file.object, Joined(file.unset), {}));
  }
  return {};
}

Status BulkMaker::Finish() {
  if (batch_ != nullptr) HandOver();
  chunks_ += kBulkChunks;  // so that it waits for all
  return TakeBack();
}

}  // namespace tandem::replica
