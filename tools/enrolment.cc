#include "tools/enrolment.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include <optional>

#include "meta/base/log.h"
#include "replica/transport/certificates.h"
#include "replica/wire/messages.h"
#include "tools/replica_url.h"

namespace tandem::tools {
namespace {

using replica::Credentials;
using replica::Enrolled;
using replica::Reply;
using replica::ReplyCode;

constexpr std::string_view kTls = "tls://";

tl::unexpected<Error> BadAnswer(const std::string& url, const std::string& why) {
  return MakeError(ErrorKind::kProtocol, "enrol at " + url + " (" + why + ")", EBADMSG);
}

Result<Enrolled> AskFor(const std::string& url, const Credentials& credentials,
                        replica::RequestBody body, const AskDaemon& ask) {
  ASSIGN_OR_RETURN(const std::string bytes,
                   ask(url, credentials, replica::EncodeRequest({{}, std::move(body)})));
  ASSIGN_OR_RETURN(Reply reply, replica::DecodeReply(bytes));
  if (reply.code == ReplyCode::kBadRequest) {
    return BadAnswer(
        url, "tandemd there does not know the request: upgrade it. It says: " + reply.message);
  }
  if (reply.code != ReplyCode::kOk) {
    return MakeError(ErrorKind::kRefused, "tandemd at " + url + " refuses: " + reply.message,
                     EPERM);
  }
  auto* const enrolled = std::get_if<Enrolled>(&reply.body);
  if (enrolled == nullptr) return BadAnswer(url, "tandemd gave an answer of another kind");
  return std::move(*enrolled);
}

// Checks that the daemon has certified this host's key, by the authority it is known by.
Status CheckCertificate(const Enrolled& enrolled, const std::string& url,
                        const std::string& private_key, const std::string& authority_digest) {
  const auto digest = replica::DigestOfCertificate(enrolled.authority);
  if (!digest || *digest != authority_digest) {
    return BadAnswer(url, "the authority is not the one of the invitation");
  }
  if (auto fits = replica::CheckSignedBy({enrolled.certificate, private_key}, enrolled.authority);
      !fits) {
    return BadAnswer(url, fits.error().context());
  }
  const auto name = replica::NameOfCertificate(enrolled.certificate);
  if (!name || *name != enrolled.name || name->find('/') == std::string::npos) {
    return BadAnswer(url, "the certificate has another name than the answer");
  }
  return {};
}

std::string OwnName() {
  char name[HOST_NAME_MAX + 1] = "";
  gethostname(name, sizeof name - 1);
  return name;
}

// Returns the token's addresses with the one that answered first.
std::vector<std::string> WithFirst(std::vector<std::string> addresses, const std::string& first) {
  std::erase(addresses, first);
  addresses.insert(addresses.begin(), first);
  return addresses;
}

constexpr char kSpace[] = " \t\r\n";

// Returns whether the text has a whole line with something in it.
bool HasLine(const std::string& text) {
  const size_t begin = text.find_first_not_of(kSpace);
  return begin != std::string::npos && text.find('\n', begin) != std::string::npos;
}

// Returns the URL of the daemon at the address that answered, for this key.
std::string UrlOf(const HostKey& key) {
  const size_t at = key.place.find('@');
  const std::string account = at == std::string::npos ? "" : key.place.substr(0, at + 1);
  return std::string(kTls) + account + key.addresses.front();
}

// Stores the key, and returns the URL that stands for it.
Result<std::string> Keep(const replica::Token& token, const std::string& address, Enrolled enrolled,
                         std::string private_key, const std::string& invitation,
                         const HostKeys& keys) {
  HostKey key;
  key.place = address;
  key.addresses = WithFirst(token.addresses, address);
  key.identity = std::move(enrolled.name);
  key.credentials.certificate = std::move(enrolled.certificate);
  key.credentials.private_key = std::move(private_key);
  key.credentials.authority = std::move(enrolled.authority);
  key.invitation = invitation;
  ASSIGN_OR_RETURN(const LockedFile lock, keys.Lock());
  // A key of the same account is replaced. One of another account stays, for volumes of that one.
  const auto former = keys.Find(address);
  if (!former || (*former && AccountOf(**former) != AccountOf(key))) {
    key.place = AccountOf(key) + "@" + address;
  } else if (*former) {
    key.place = (*former)->place;
    LogInfo("the key for {} as {} takes the place of the one as {}", key.place, key.identity,
            (*former)->identity);
  }
  RETURN_IF_ERROR(keys.Store(key));
  RETURN_IF_ERROR(keys.ForgetInvitation(invitation));
  LogInfo("enrolled at {} as {}", key.place, key.identity);
  return UrlOf(key);
}

}  // namespace

Result<replica::Token> ReadToken(const std::string& file) {
  UniqueFd opened;
  int fd = STDIN_FILENO;
  const std::string shown = file == "-" ? "stdin" : file;
  if (file != "-") {
    opened.Reset(open(file.c_str(), O_RDONLY | O_CLOEXEC));
    if (!opened.valid()) return ErrnoError("open the file of the invitation, " + file);
    fd = opened.get();
    struct stat found;
    if (fstat(fd, &found) == 0 && S_ISREG(found.st_mode) && (found.st_mode & 044) != 0) {
      Complain("tandemfs", "notice: other users can read " + file +
                               ", and whoever is first can enrol with it: chmod 600 it");
    }
  }
  std::string text;
  while (text.size() <= replica::kMaxTokenBytes && !HasLine(text)) {
    char buffer[1024];
    const ssize_t got = read(fd, buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return ErrnoError("read the invitation from " + shown);
    if (got == 0) break;
    text.append(buffer, static_cast<size_t>(got));
  }
  text = text.substr(0, text.find('\n', text.find_first_not_of(kSpace)));
  auto token = replica::ParseToken(text);
  if (token) return token;
  return tl::unexpected<Error>(std::move(token.error()).Within(shown));
}

Result<std::string> Enrol(const replica::Token& token, const HostKeys& keys, const AskDaemon& ask) {
  const std::string invitation = replica::Sha256Hex(token.secret);
  std::string private_key;
  {
    ASSIGN_OR_RETURN(const LockedFile lock, keys.Lock());
    ASSIGN_OR_RETURN(const auto known, keys.FindInvited(invitation));
    if (known) {
      RETURN_IF_ERROR(keys.ForgetInvitation(invitation));
      return UrlOf(*known);
    }
    ASSIGN_OR_RETURN(private_key, keys.KeyForInvitation(invitation));
  }
  ASSIGN_OR_RETURN(const std::string request, replica::MakeCertificateRequest(private_key));
  Credentials credentials;
  credentials.authority_digest = token.authority_digest;
  std::string tried;
  for (const std::string& address : token.addresses) {
    const std::string url = std::string(kTls) + address;
    auto enrolled = AskFor(url, credentials, replica::Enrol{token.secret, request, OwnName()}, ask);
    if (!enrolled) {
      const ErrorKind kind = enrolled.error().kind();
      if (kind == ErrorKind::kRefused && enrolled.error().code() == EPERM) {
        return tl::unexpected<Error>(enrolled.error());
      }
      tried += (tried.empty() ? "" : "; ") + address + ": " + enrolled.error().ToString();
      continue;
    }
    RETURN_IF_ERROR(CheckCertificate(*enrolled, url, private_key, token.authority_digest));
    return Keep(token, address, std::move(*enrolled), private_key, invitation, keys);
  }
  return MakeError(ErrorKind::kUnreachable,
                   "enrol with the invitation (its daemon is at none of its addresses: " + tried +
                       ". See that tandemd listens on tls://, that a firewall lets it be reached, "
                       "and run this again)",
                   EHOSTUNREACH);
}

Result<bool> RenewIfAsked(const std::string& url, const HostKeys& keys, const AskDaemon& ask) {
  if (!url.starts_with(kTls)) return false;
  const std::string place = url.substr(kTls.size());
  ASSIGN_OR_RETURN(auto known, keys.Find(place));
  if (!known) return false;
  if (known->next_private_key.empty()) {
    ASSIGN_OR_RETURN(const Enrolled asked, AskFor(url, known->credentials, replica::Renew{}, ask));
    if (!asked.must_renew) return false;
    ASSIGN_OR_RETURN(const LockedFile lock, keys.Lock());
    ASSIGN_OR_RETURN(known, keys.Find(place));  // another process may have begun
    if (!known) return false;
    if (known->next_private_key.empty()) {
      ASSIGN_OR_RETURN(known->next_private_key, replica::MakePrivateKey());
      RETURN_IF_ERROR(keys.Store(*known));
    }
  }
  ASSIGN_OR_RETURN(const std::string request,
                   replica::MakeCertificateRequest(known->next_private_key));
  ASSIGN_OR_RETURN(Enrolled enrolled,
                   AskFor(url, known->credentials, replica::Renew{request}, ask));
  ASSIGN_OR_RETURN(const std::string authority,
                   replica::DigestOfCertificate(known->credentials.authority));
  RETURN_IF_ERROR(CheckCertificate(enrolled, url, known->next_private_key, authority));

  ASSIGN_OR_RETURN(const LockedFile lock, keys.Lock());
  ASSIGN_OR_RETURN(auto now, keys.Find(place));
  if (!now || now->next_private_key != known->next_private_key) return true;  // it is done
  now->credentials.private_key = std::move(now->next_private_key);
  now->next_private_key.clear();
  now->credentials.certificate = std::move(enrolled.certificate);
  RETURN_IF_ERROR(keys.Store(*now));
  LogInfo("the key for {} as {} is renewed", place, now->identity);
  return true;
}

}  // namespace tandem::tools
