use super::*;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, KeyPair, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey,
};

/// RFC 7515, appendix A.1.
const RFC: &str = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const RFC_KEY: &str =
    "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";

#[test]
fn the_rfcs_own_token_is_right_and_a_changed_one_is_not() {
    let key = URL_SAFE_NO_PAD.decode(RFC_KEY).unwrap();
    let claims = verified(&key, RFC).expect("the RFC says so");
    assert_eq!(claims["iss"], "joe");
    assert_eq!(exp(&claims), Some(1_300_819_380));
    assert_eq!(expiry(RFC), Some(1_300_819_380));
    assert_eq!(verified(b"another secret", RFC), None);
    let changed = RFC.replacen("eyJpc3MiOiJqb2Ui", "eyJpc3MiOiJqb2Uj", 1);
    assert_eq!(verified(&key, &changed), None);
}

#[test]
fn what_is_signed_by_a_secret_is_verified_by_it() {
    let signer = JwtSigner::new(JwtAlgorithm::Hs256, b"s3cret", Some("k1")).unwrap();
    let token = signer.sign(r#"{"sub":"u1","exp":12.5}"#);
    let claims = verified(b"s3cret", &token).unwrap();
    assert_eq!(
        (claims["sub"].as_str(), exp(&claims)),
        (Some("u1"), Some(12))
    );
    let head = object(token.split('.').next().unwrap()).unwrap();
    assert_eq!(
        Value::Object(head).to_string(),
        r#"{"alg":"HS256","typ":"JWT","kid":"k1"}"#
    );
}

#[test]
fn a_token_without_signature_or_by_another_algorithm_is_refused() {
    for header in [r#"{"alg":"none"}"#, r#"{"alg":"HS512"}"#, "{}", "[]"] {
        let text = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(header),
            URL_SAFE_NO_PAD.encode(r#"{"exp":9}"#)
        );
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"s");
        let signed = URL_SAFE_NO_PAD.encode(hmac::sign(&key, text.as_bytes()));
        assert_eq!(
            verified(b"s", &format!("{text}.{signed}")),
            None,
            "{header}"
        );
        assert_eq!(verified(b"s", &format!("{text}.")), None, "{header}");
    }
}

#[test]
fn nonsense_is_no_token() {
    for text in [
        "", ".", "..", "a.b.c", "a.b", "a.b.c.d", "é.é.é", "e30.e30.", "e30.W10.",
    ] {
        assert_eq!(verified(b"s", text), None, "{text}");
        assert_eq!(expiry(text), None, "{text}");
    }
    let long = format!("{}.e30.", "A".repeat(MAX));
    assert_eq!(expiry(&long), None);
}

/// The signature and what it is of.
fn signed(token: &str) -> (&str, Vec<u8>) {
    let (text, signed) = token.rsplit_once('.').unwrap();
    (text, URL_SAFE_NO_PAD.decode(signed).unwrap())
}

#[test]
fn a_p256_key_signs_what_its_public_key_verifies() {
    let pem = rcgen::KeyPair::generate().unwrap();
    let signer = JwtSigner::new(JwtAlgorithm::Es256, pem.serialize_pem().as_bytes(), None).unwrap();
    let token = signer.sign(r#"{"sub":"u"}"#);
    let (text, signature) = signed(&token);
    let Key::Ecdsa(pair) = &signer.key else {
        panic!("another key");
    };
    let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, pair.public_key().as_ref());
    public.verify(text.as_bytes(), &signature).unwrap();
    assert!(public.verify(b"another text", &signature).is_err());
    // A key of one kind is none of another, and says so without showing itself.
    let why =
        JwtSigner::new(JwtAlgorithm::Rs256, pem.serialize_pem().as_bytes(), None).unwrap_err();
    assert!(why.contains("RSA key"), "{why}");
}

#[test]
fn an_rsa_key_signs_what_its_public_key_verifies() {
    let pem = include_bytes!("rsa.pem");
    let signer = JwtSigner::new(JwtAlgorithm::Rs256, pem, None).unwrap();
    let token = signer.sign("{}");
    let (text, signature) = signed(&token);
    let Key::Rsa(pair) = &signer.key else {
        panic!("another key");
    };
    let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, pair.public().as_ref());
    public.verify(text.as_bytes(), &signature).unwrap();
}

#[test]
fn what_is_no_key_is_told_without_being_shown() {
    for (text, word) in [
        ("canary", "no private key"),
        (
            "-----BEGIN PRIVATE KEY-----\nY2FuYXJ5\n-----END PRIVATE KEY-----\n",
            "P-256",
        ),
        (
            "-----BEGIN PRIVATE KEY-----\n*canary*\n-----END PRIVATE KEY-----\n",
            "no private key",
        ),
        (
            "-----BEGIN EC PRIVATE KEY-----\nY2FuYXJ5\n-----END EC PRIVATE KEY-----\n",
            "PKCS#8",
        ),
        (
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nY2FuYXJ5\n-----END ENCRYPTED PRIVATE KEY-----\n",
            "encrypted",
        ),
    ] {
        let why = JwtSigner::new(JwtAlgorithm::Es256, text.as_bytes(), None).unwrap_err();
        assert!(why.contains(word) && !why.contains("canary"), "{why}");
    }
}
