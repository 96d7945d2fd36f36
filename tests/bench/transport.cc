// How fast requests go over each kind of connection, beside what the TLS library's own cipher does
// on one core, in turns; medians. usage: transport [ROUNDS [tcp|tls|ipc]]
#include "replica/transport/transport.h"

#include <openssl/evp.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "replica/transport/certificates.h"

namespace {

using tandem::replica::Credentials;
using tandem::replica::ReplySocket;
using tandem::replica::RequestSocket;
using Clock = std::chrono::steady_clock;

constexpr size_t kChunk = 1 << 20;
constexpr size_t kInFlight = 8;  // as the source has
constexpr int kChunks = 512;
constexpr int kSmall = 2000;
constexpr std::chrono::seconds kPatience{60};

double Seconds(Clock::duration time) { return std::chrono::duration<double>(time).count(); }

double MiBPerSecond(RequestSocket& socket) {
  const std::string chunk(kChunk, 'x');
  const auto begin = Clock::now();
  std::vector<std::unique_ptr<RequestSocket::Call>> calls;
  for (int i = 0; i < kChunks; ++i) {
    if (calls.size() == kInFlight) {
      if (!calls.front()->Wait()) std::abort();
      calls.erase(calls.begin());
    }
    calls.push_back(socket.Send(chunk, kPatience).value());
  }
  for (const auto& call : calls) {
    if (!call->Wait()) std::abort();
  }
  return kChunks / Seconds(Clock::now() - begin);
}

double MicrosecondsOfSmall(RequestSocket& socket) {
  std::vector<double> times;
  for (int i = 0; i < kSmall; ++i) {
    const auto begin = Clock::now();
    if (!socket.Ask("small", kPatience)) std::abort();
    times.push_back(1e6 * Seconds(Clock::now() - begin));
  }
  std::ranges::nth_element(times, times.begin() + kSmall / 2);
  return times[kSmall / 2];
}

// AES-128-GCM in records of 16 KiB, as `openssl speed -evp aes-128-gcm -bytes 16384` measures it.
double CipherMiBPerSecond() {
  std::vector<unsigned char> record(16 << 10);
  std::vector<unsigned char> sealed(record.size() + 32);
  unsigned char key[16] = {};
  unsigned char nonce[12] = {};
  EVP_CIPHER_CTX* const context = EVP_CIPHER_CTX_new();
  EVP_EncryptInit_ex(context, EVP_aes_128_gcm(), nullptr, key, nonce);
  const auto begin = Clock::now();
  for (int i = 0; i < kChunks * 64; ++i) {
    int size = 0;
    nonce[0] = static_cast<unsigned char>(i);
    EVP_EncryptInit_ex(context, nullptr, nullptr, nullptr, nonce);
    EVP_EncryptUpdate(context, sealed.data(), &size, record.data(),
                      static_cast<int>(record.size()));
    EVP_EncryptFinal_ex(context, sealed.data() + size, &size);
    EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, 16, sealed.data());
  }
  const double rate = kChunks / Seconds(Clock::now() - begin);
  EVP_CIPHER_CTX_free(context);
  return rate;
}

}  // namespace

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::atoi(argv[1]) : 5;
  const auto authority = tandem::replica::MakeAuthority().value();
  const auto daemon = tandem::replica::MakeDaemonCertificate(authority).value();
  const std::string key = tandem::replica::MakePrivateKey().value();
  const std::string request = tandem::replica::MakeCertificateRequest(key).value();
  const Credentials host{tandem::replica::SignRequest(authority, request, "a/b").value(), key,
                         authority.certificate, ""};
  ReplySocket::Options options;
  options.workers = 16;
  options.max_message_bytes = 4 << 20;
  options.credentials = {daemon.certificate, daemon.private_key, authority.certificate, ""};
  const auto server =
      ReplySocket::Listen(
          {"tcp://127.0.0.1:0", "tls://127.0.0.1:0",
           "ipc:///tmp/bench-transport-" + std::to_string(getpid())},
          options,
          [](std::string_view, const tandem::replica::ConnectionRef&) { return std::string("ok"); })
          .value();
  std::map<std::string, std::vector<double>> measured;
  for (int round = 0; round < rounds; ++round) {
    for (const std::string& url : server->urls()) {
      if (argc > 2 && !url.starts_with(argv[2])) continue;
      const auto socket = RequestSocket::Dial(url, host).value();
      const std::string kind = url.substr(0, 3);
      measured[kind + " MiB/s"].push_back(MiBPerSecond(*socket));
      measured[kind + " us a small request"].push_back(MicrosecondsOfSmall(*socket));
    }
    measured["cipher alone MiB/s"].push_back(CipherMiBPerSecond());
  }
  for (auto& [what, values] : measured) {
    std::ranges::sort(values);
    std::printf("%-24s %10.1f   (%.1f to %.1f)\n", what.c_str(), values[values.size() / 2],
                values.front(), values.back());
  }
}
