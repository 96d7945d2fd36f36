#include "tools/metrics/metrics_server.h"

#include <httplib.h>
#include <signal.h>

#include <charconv>
#include <cstdlib>
#include <iostream>
#include <optional>
#include <thread>

#include "tools/metrics/metrics.h"
#include "tools/print.h"

namespace tandem::tools {
namespace {

constexpr char kContentType[] = "text/plain; version=0.0.4; charset=utf-8";
constexpr char kLoopback[] = "127.0.0.1";
constexpr time_t kTimeoutSeconds = 5;
constexpr size_t kThreads = 4;

struct Address {
  std::string host;
  int port;
};

Result<Address> ParseAddress(const std::string& text) {
  const size_t colon = text.rfind(':');
  int port = -1;
  if (colon != std::string::npos) {
    const char* const end = text.data() + text.size();
    const auto read = std::from_chars(text.data() + colon + 1, end, port);
    if (read.ec != std::errc() || read.ptr != end) port = -1;
  }
  if (port < 0 || port > 65535) {
    return MakeError(ErrorKind::kUsage,
                     "listen on " + text + " (HOST:PORT is expected, as in 127.0.0.1:7450)");
  }
  std::string host = text.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  return Address{host.empty() ? kLoopback : host, port};
}

void Answer(const std::vector<std::string>& stores, httplib::Response& response) {
  const auto text = CollectMetrics(stores);
  if (!text) {
    response.status = 500;
    response.set_content(text.error().ToString() + "\n", "text/plain");
    return;
  }
  response.set_content(*text, kContentType);
}

Result<int> Serve(const Address& address, const std::vector<std::string>& stores) {
  httplib::Server server;
  server.new_task_queue = [] { return new httplib::ThreadPool(kThreads); };
  server.set_read_timeout(kTimeoutSeconds);
  server.set_write_timeout(kTimeoutSeconds);
  server.set_payload_max_length(0);
  server.Get("/metrics", [&stores](const httplib::Request&, httplib::Response& response) {
    Answer(stores, response);
  });
  int port = address.port;
  const bool bound = port == 0 ? (port = server.bind_to_any_port(address.host)) > 0
                               : server.bind_to_port(address.host, port);
  if (!bound) {
    return MakeError(ErrorKind::kUsage, "listen on " + address.host + ":" +
                                            std::to_string(address.port) +
                                            " (the address is in use, or not one of this host: "
                                            "give another with --listen)");
  }
  // All threads inherit the mask; one waits for the signals.
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGTERM, SIGINT}) sigaddset(&signals, signal);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::thread stopper([&server, &signals] {
    int signal = 0;
    sigwait(&signals, &signal);
    server.stop();
  });
  PrintLine("http://{}:{}/metrics", address.host, port);
  if (Status flushed = FlushOutput(); !flushed) kill(getpid(), SIGTERM);
  const bool ended = server.listen_after_bind();
  if (!ended) kill(getpid(), SIGTERM);
  stopper.join();
  return EXIT_SUCCESS;
}

}  // namespace

Result<int> RunMetrics(const MetricsOptions& options) {
  if (!options.listen.empty()) {
    ASSIGN_OR_RETURN(const Address address, ParseAddress(options.listen));
    return Serve(address, options.stores);
  }
  ASSIGN_OR_RETURN(const std::string text, CollectMetrics(options.stores));
  std::cout << text << std::flush;
  return EXIT_SUCCESS;
}

}  // namespace tandem::tools
