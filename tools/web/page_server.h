// An HTTP server for the web page, over cpp-httplib, of which nothing shows here. A connection
// carries one request. How much a client may send, and how long it may take, is limited, and so are
// the connections: this host's other users can connect as well.
//
// The site's functions are called by several threads at once.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "meta/base/result.h"
#include "tools/web/host_check.h"

namespace tandem::tools {

struct HttpRequest {
  std::string method;
  std::string path;
  // Headers; empty if they were not sent.
  std::string host;
  std::string origin;
  std::string fetch_site;  // Sec-Fetch-Site
  std::string content_type;
  std::string cookies;
  std::string token;    // X-Tandem-Token
  bool is_odd = false;  // repeats a header of these, or is encoded, chunked or for a range
  std::string body;
  std::string mount;  // of the query
};

struct HttpResponse {
  int status = 200;
  std::string type;
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers;
  // If set, gives the body piece by piece: waits for the next one, and returns nullopt at the end.
  std::function<std::optional<std::string>()> stream;
};

class Site {
 public:
  virtual ~Site() = default;
  // Called before the body is read. Returns the answer if the request is refused.
  virtual std::optional<HttpResponse> Refuse(const HttpRequest& request) = 0;
  virtual HttpResponse Handle(const HttpRequest& request) = 0;
};

class PageServer {
 public:
  static constexpr size_t kMaxBodyBytes = 64 << 10;

  // Takes the address; port 0 is replaced by a free one. Fails with kUsage, and what to do, if it
  // is in use.
  static Result<std::unique_ptr<PageServer>> Listen(const ListenAddress& address);
  // Stops accepting, and waits for the requests under way: end the streams first.
  virtual ~PageServer() = default;

  virtual const ListenAddress& address() const = 0;
  // Answers from now on. `site` is borrowed, and outlives the server. Called once.
  virtual void Serve(Site& site) = 0;
};

}  // namespace tandem::tools
