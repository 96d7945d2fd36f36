// Why files opened for reading are not handed to the kernel (fs/LOCKING.md): what it does when the
// same file is open to a writer, whom we must see. A filesystem of one file, without ours.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <thread>

#include "fs/serving/fuse_api.h"
#include "meta/base/unique_fd.h"
#include "tests/files.h"
#include "tests/mount_fixture.h"

#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 17)

namespace tandem::test {
namespace {

constexpr fuse_ino_t kFile = 2;
constexpr char kName[] = "file";
constexpr double kForAnHour = 3600;

// Serves one file: by passthrough to those who only read, from the page cache, or without it, to
// those who write.
class OneFile {
 public:
  OneFile(const std::string& backing, const std::string& mountpoint, bool writers_bypass_cache)
      : fd_(open(backing.c_str(), O_RDWR | O_CLOEXEC)),
        mountpoint_(mountpoint),
        writers_bypass_cache_(writers_bypass_cache) {
    char name[] = "one_file";
    char option[] = "-o";
    char value[] = "default_permissions";
    char* arguments[] = {name, option, value};
    fuse_args args = FUSE_ARGS_INIT(std::size(arguments), arguments);
    fuse_lowlevel_ops operations = {};
    operations.init = Init;
    operations.lookup = Lookup;
    operations.getattr = GetAttributes;
    operations.open = Open;
    operations.release = [](fuse_req_t request, fuse_ino_t, fuse_file_info* info) {
      if (info->fh != 0) fuse_passthrough_close(request, static_cast<int>(info->fh));
      fuse_reply_err(request, 0);
    };
    session_ = fuse_session_new(&args, &operations, sizeof operations, this);
    fuse_opt_free_args(&args);
    if (session_ == nullptr || fuse_session_mount(session_, mountpoint.c_str()) != 0) return;
    mounted_ = true;
    server_ = std::jthread([this] { fuse_session_loop(session_); });
  }
  OneFile(OneFile&&) = delete;
  ~OneFile() {
    // Ends the loop, whose descriptor fuse_session_unmount closes.
    if (mounted_) umount2(mountpoint_.c_str(), MNT_DETACH);
    if (server_.joinable()) server_.join();
    if (mounted_) fuse_session_unmount(session_);
    if (session_ != nullptr) fuse_session_destroy(session_);
  }
  bool mounted() const { return mounted_; }
  // Once something has been opened.
  bool can_pass_through() const { return can_pass_through_; }

 private:
  static OneFile& Self(fuse_req_t request) {
    return *static_cast<OneFile*>(fuse_req_userdata(request));
  }
  static void Init(void* self, fuse_conn_info* connection) {
    static_cast<OneFile*>(self)->can_pass_through_ =
        fuse_set_feature_flag(connection, FUSE_CAP_PASSTHROUGH);
    fuse_set_feature_flag(connection, FUSE_CAP_DIRECT_IO_ALLOW_MMAP);
    connection->max_backing_stack_depth = 1;
  }
  struct stat Attributes(fuse_ino_t node) const {
    struct stat attributes = {};
    fstat(fd_.get(), &attributes);
    attributes.st_ino = node;
    if (node == FUSE_ROOT_ID) attributes.st_mode = S_IFDIR | 0755;
    return attributes;
  }
  static void Lookup(fuse_req_t request, fuse_ino_t, const char* name) {
    fuse_entry_param entry = {};
    if (std::strcmp(name, kName) == 0) {
      entry.ino = kFile;
      entry.attr = Self(request).Attributes(kFile);
    }
    entry.attr_timeout = entry.entry_timeout = kForAnHour;
    fuse_reply_entry(request, &entry);
  }
  static void GetAttributes(fuse_req_t request, fuse_ino_t node, fuse_file_info*) {
    const struct stat attributes = Self(request).Attributes(node);
    fuse_reply_attr(request, &attributes, kForAnHour);
  }
  static void Open(fuse_req_t request, fuse_ino_t, fuse_file_info* info) {
    const OneFile& self = Self(request);
    info->fh = 0;
    info->noflush = 1;
    if ((info->flags & O_ACCMODE) == O_RDONLY) {
      const int backing = fuse_passthrough_open(request, self.fd_.get());
      if (backing <= 0) {
        fuse_reply_err(request, EOPNOTSUPP);
        return;
      }
      info->backing_id = backing;
      info->fh = static_cast<uint64_t>(backing);
    } else {
      info->direct_io = self.writers_bypass_cache_;
    }
    fuse_reply_open(request, info);
  }

  const UniqueFd fd_;
  const std::string mountpoint_;
  const bool writers_bypass_cache_;
  fuse_session* session_ = nullptr;
  bool mounted_ = false;
  std::atomic<bool> can_pass_through_{false};
  std::jthread server_;
};

class KernelPassthrough : public MountTest {
 protected:
  void SetUp() override {
    MountTest::SetUp();
    Write(backing_, "text");
  }
  UniqueFd Open(int flags) const {
    return UniqueFd(open((mountpoint_ + "/" + kName).c_str(), flags | O_CLOEXEC));
  }
  static void* Map(const UniqueFd& fd) {
    return mmap(nullptr, 4, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  }

  const std::string mountpoint_ = scratch_.Directory("one");
  const std::string backing_ = scratch_.Path("backing");
};

TEST_F(KernelPassthrough, ReadersAndCachedWritersExcludeEachOther) {
  const OneFile file(backing_, mountpoint_, false);
  ASSERT_TRUE(file.mounted());
  {
    const UniqueFd reader = Open(O_RDONLY);
    ASSERT_TRUE(file.can_pass_through());
    ASSERT_TRUE(reader.valid()) << strerror(errno);
    EXPECT_FALSE(Open(O_RDWR).valid());
    EXPECT_EQ(errno, EIO);
  }
  UniqueFd writer;
  ASSERT_TRUE(WaitFor([&] { return (writer = Open(O_RDWR)).valid(); }));
  EXPECT_FALSE(Open(O_RDONLY).valid());
  EXPECT_EQ(errno, EIO);
}

TEST_F(KernelPassthrough, AWriterBesideAReaderCannotMapTheFile) {
  const OneFile file(backing_, mountpoint_, true);
  ASSERT_TRUE(file.mounted());
  const UniqueFd writer = Open(O_RDWR);
  ASSERT_TRUE(writer.valid()) << strerror(errno);
  {
    const UniqueFd reader = Open(O_RDONLY);
    ASSERT_TRUE(reader.valid()) << strerror(errno);
    EXPECT_EQ(MAP_FAILED, Map(writer));
    EXPECT_EQ(errno, ENODEV);
  }
  // It is the reader that was in the way.
  void* mapped = MAP_FAILED;
  ASSERT_TRUE(WaitFor([&] { return (mapped = Map(writer)) != MAP_FAILED; }));
  EXPECT_EQ(0, munmap(mapped, 4));
}

}  // namespace
}  // namespace tandem::test

#endif
