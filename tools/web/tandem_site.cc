#include "tools/web/tandem_site.h"

#include <algorithm>

#include "meta/base/log.h"
#include "tools/web/page_files.h"

namespace tandem::tools {
namespace {

constexpr char kJson[] = "application/json";
constexpr int kMostStreams = 24;
// A stream with nothing to say sends a comment after so long, which fails if nobody reads it.
constexpr std::chrono::seconds kHeartbeat{15};

HttpResponse JsonResponse(int status, const Json& json) {
  HttpResponse response;
  response.status = status;
  response.type = kJson;
  response.body = Dump(json);
  return response;
}

HttpResponse ErrorResponse(int status, const std::string& error) {
  return JsonResponse(status, {{"error", error}});
}

int StatusOf(ErrorKind kind) {
  if (kind == ErrorKind::kUsage) return 400;
  return kind == ErrorKind::kUnreachable ? 504 : 409;
}

HttpResponse ToResponse(const Result<Json>& result) {
  if (result) return JsonResponse(200, *result);
  return ErrorResponse(StatusOf(result.error().kind()), result.error().ToString());
}

bool IsApi(const HttpRequest& request) { return request.path.starts_with("/api/"); }

bool IsJson(const std::string& type) { return type.substr(0, type.find(';')) == kJson; }

// Counts a stream as long as it lives.
class StreamCount {
 public:
  explicit StreamCount(std::atomic<int>& count) : count_(count) {}
  ~StreamCount() { --count_; }
  StreamCount(const StreamCount&) = delete;
  StreamCount& operator=(const StreamCount&) = delete;

 private:
  std::atomic<int>& count_;
};

}  // namespace

std::optional<HttpResponse> TandemSite::Refuse(const HttpRequest& request) {
  if (!host_check_.AllowsHost(request.host)) {
    return ErrorResponse(421, "the request is for another host (Host: " + request.host + ")");
  }
  if (!request.origin.empty() && !host_check_.AllowsOrigin(request.origin, request.host)) {
    return ErrorResponse(403, "a page of another origin may not do this");
  }
  if (request.is_odd) return ErrorResponse(400, "a header is not accepted here");
  const bool reads = request.method == "GET" || request.method == "HEAD";
  if (!reads && request.method != "POST") return ErrorResponse(405, "GET and POST are possible");
  if (!IsApi(request)) {
    return reads ? std::nullopt : std::optional(ErrorResponse(405, "GET is possible"));
  }
  // Browsers of today say where a request comes from; "same-site" is another port.
  if (!request.fetch_site.empty() && request.fetch_site != "same-origin") {
    return ErrorResponse(403, "a page of another origin may not do this");
  }
  if (!reads && !IsJson(request.content_type)) {
    return ErrorResponse(415, "send the request as application/json");
  }
  if (request.path == "/api/login" || IsOfSession(request)) return std::nullopt;
  return ErrorResponse(401, "log in first: press Enter in the terminal where tandem web runs");
}

HttpResponse TandemSite::Handle(const HttpRequest& request) {
  try {
    return Dispatch(request);
  } catch (const Json::exception& e) {
    LogError("web: exception while answering {}: {}", request.path, e.what());
    return ErrorResponse(500, "an answer could not be made");
  }
}

HttpResponse TandemSite::Dispatch(const HttpRequest& request) {
  const std::string what = request.method + " " + request.path;
  if (what == "POST /api/login") return LogIn(request);
  if (what == "POST /api/logout") return LogOut(request);
  if (what == "GET /api/events") return Events(request);
  if (what == "GET /api/history") {
    // Not an error status: an older tandemfs keeps no history, and browsers report each of them.
    const auto history = actions_.History(request.mount);
    return history ? JsonResponse(200, *history) : ErrorResponse(200, history.error().ToString());
  }
  if (what == "POST /api/act") {
    const Json action = Json::parse(request.body, nullptr, /*allow_exceptions=*/false);
    if (!action.is_object()) return ErrorResponse(400, "the request is not a JSON object");
    return ToResponse(actions_.Perform(action));
  }
  const auto file = std::ranges::find(PageFiles(), request.path, &PageFile::path);
  if (file == PageFiles().end()) return ErrorResponse(404, "there is nothing at this address");
  HttpResponse response;
  response.type = file->type;
  response.body = file->bytes;
  return response;
}

std::string TandemSite::CookieOf(const HttpRequest& request) const {
  const std::string wanted = "; " + cookie_name_ + "=";
  const std::string cookies = "; " + request.cookies;
  const size_t at = cookies.find(wanted);
  if (at == std::string::npos) return "";
  const size_t begin = at + wanted.size();
  return cookies.substr(begin, cookies.find(';', begin) - begin);
}

bool TandemSite::IsOfSession(const HttpRequest& request) {
  return sessions_.IsValid(CookieOf(request), request.token);
}

HttpResponse TandemSite::LogIn(const HttpRequest& request) {
  const Json body = Json::parse(request.body, nullptr, /*allow_exceptions=*/false);
  const bool has_key = body.is_object() && body.contains("key") && body["key"].is_string();
  if (!has_key) return ErrorResponse(400, "the request has no key");
  const auto secrets = sessions_.LogIn(body["key"].get<std::string>());
  if (!secrets) return ErrorResponse(403, secrets.error().ToString());
  LogInfo("web: a browser has logged in");
  HttpResponse response = JsonResponse(200, {{"token", secrets->token}});
  response.headers.emplace_back(
      "Set-Cookie", cookie_name_ + "=" + secrets->cookie + "; Path=/; HttpOnly; SameSite=Strict");
  return response;
}

HttpResponse TandemSite::LogOut(const HttpRequest& request) {
  sessions_.LogOut(CookieOf(request), request.token);
  HttpResponse response = JsonResponse(200, {{"said", "Logged out."}});
  response.headers.emplace_back("Set-Cookie",
                                cookie_name_ + "=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0");
  return response;
}

HttpResponse TandemSite::Events(const HttpRequest& request) {
  if (++streams_ > kMostStreams) {
    --streams_;
    return ErrorResponse(503, "the page is open too often: close it in other tabs");
  }
  HttpResponse response;
  response.type = "text/event-stream";
  response.stream = [this, count = std::make_shared<StreamCount>(streams_),
                     watcher = std::make_shared<Hub::Watcher>(hub_),
                     request]() -> std::optional<std::string> {
    const auto snapshot = watcher->Next(Hub::Clock::now() + kHeartbeat);
    if (hub_.is_stopping() || !IsOfSession(request)) return std::nullopt;
    if (snapshot == nullptr) return ": nothing new\n\n";
    return "event: status\ndata: " + snapshot->json + "\n\n";
  };
  return response;
}

}  // namespace tandem::tools
