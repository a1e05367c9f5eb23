#include "base/hmac.hpp"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>

#include <memory>

namespace hearth {

namespace {

constexpr size_t kMacBytes = 32;

template <auto Free>
struct With {
  template <class T>
  void operator()(T* raw) const {
    Free(raw);
  }
};

const unsigned char* as_bytes(std::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

/// OpenSSL asks for the passphrase of an encrypted key on the terminal unless it is given a function that has none.
int no_passphrase(char* /*buffer*/, int /*size*/, int /*writing*/, void* /*user*/) {
  return -1;
}

}  // namespace

std::string hmac_sha256(std::string_view key, std::string_view message) {
  std::string mac(kMacBytes, '\0');
  unsigned int size = 0;
  // A null key pointer means "the key of the last call" to OpenSSL.
  const std::string_view given = key.data() == nullptr ? std::string_view("") : key;
  const unsigned char* done = HMAC(EVP_sha256(), given.data(), static_cast<int>(given.size()), as_bytes(message),
                                   message.size(), reinterpret_cast<unsigned char*>(mac.data()), &size);
  CHECK_PROMISE(done != nullptr && size == kMacBytes);
  return mac;
}

Result<std::string> sign_rs256(std::string_view private_key_pem, std::string_view message) {
  const auto refuse = [] {
    ERR_clear_error();
    return fail(ErrorCode::invalid_argument, "not an unencrypted RSA private key in PEM");
  };
  const std::unique_ptr<BIO, With<BIO_free>> source(
      BIO_new_mem_buf(private_key_pem.data(), static_cast<int>(private_key_pem.size())));
  if (!source) return refuse();
  const std::unique_ptr<EVP_PKEY, With<EVP_PKEY_free>> key(
      PEM_read_bio_PrivateKey(source.get(), nullptr, no_passphrase, nullptr));
  if (!key || EVP_PKEY_get_base_id(key.get()) != EVP_PKEY_RSA) return refuse();
  const std::unique_ptr<EVP_MD_CTX, With<EVP_MD_CTX_free>> context(EVP_MD_CTX_new());
  CHECK_PROMISE(context != nullptr);
  size_t size = 0;
  if (EVP_DigestSignInit(context.get(), nullptr, EVP_sha256(), nullptr, key.get()) != 1 ||
      EVP_DigestSign(context.get(), nullptr, &size, as_bytes(message), message.size()) != 1) {
    return refuse();
  }
  std::string signature(size, '\0');
  if (EVP_DigestSign(context.get(), reinterpret_cast<unsigned char*>(signature.data()), &size, as_bytes(message),
                     message.size()) != 1) {
    return refuse();
  }
  signature.resize(size);
  return signature;
}

}  // namespace hearth
