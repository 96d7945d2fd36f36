// Who is at the other end of a connection, as far as the transport has proof of it. What that peer
// may do is the store's to decide (replica/accounts/rights.h). Plain values.
#pragma once

#include <sys/types.h>

#include <string>

namespace tandem::replica {

struct PeerIdentity {
  enum class Kind {
    kUser,       // over ipc: a process of this host, whose user the kernel names (SO_PEERCRED)
    kPlaintext,  // over tcp: nothing is proved
    kKey,        // over tls: has the private key of a certificate that the store's authority signed
    kStranger,   // over tls, without such a certificate: may only enrol
  };

  Kind kind = Kind::kPlaintext;
  uid_t user = 0;  // kUser
  // SHA-256 of the public key (the DER form of SubjectPublicKeyInfo) of the certificate it showed,
  // 64 hexadecimal digits. Empty if it showed none.
  std::string key;
  std::string name;     // kKey: the certificate's common name
  std::string address;  // for messages only, as in "192.0.2.7" or "process 1234"
};

}  // namespace tandem::replica
