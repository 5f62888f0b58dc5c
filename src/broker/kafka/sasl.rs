//! SCRAM (RFC 5802, 7677) with SHA-256 or SHA-512, without I/O but for the nonce.

use super::config::Mechanism;
use super::wire::broken;
use crate::broker::BrokerError;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::{SecureRandom, SystemRandom};
use ring::{digest, hmac, pbkdf2};
use std::num::NonZeroU32;

/// More rounds than anybody asks for would stop the shard's thread for long.
const MOST_ROUNDS: u32 = 1 << 20;

/// A login as it goes on.
pub struct Scram {
    kind: (
        pbkdf2::Algorithm,
        hmac::Algorithm,
        &'static digest::Algorithm,
    ),
    password: String,
    /// Our first message without its head.
    first: String,
    nonce: String,
    /// What the broker must answer at the end.
    expected: Vec<u8>,
}

impl Scram {
    /// With a nonce of the system's.
    pub fn new(mechanism: Mechanism, user: &str, password: &str) -> Result<Scram, BrokerError> {
        let mut bytes = [0; 24];
        let filled = SystemRandom::new().fill(&mut bytes);
        filled.map_err(|_| BrokerError::Refused("the system gives no random bytes".into()))?;
        Ok(Scram::with(
            mechanism,
            user,
            password,
            STANDARD.encode(bytes),
        ))
    }

    fn with(mechanism: Mechanism, user: &str, password: &str, nonce: String) -> Scram {
        let kind = match mechanism {
            Mechanism::Scram512 => (
                pbkdf2::PBKDF2_HMAC_SHA512,
                hmac::HMAC_SHA512,
                &digest::SHA512,
            ),
            Mechanism::Plain | Mechanism::Scram256 => (
                pbkdf2::PBKDF2_HMAC_SHA256,
                hmac::HMAC_SHA256,
                &digest::SHA256,
            ),
        };
        let user = user.replace('=', "=3D").replace(',', "=2C");
        Scram {
            kind,
            password: password.to_owned(),
            first: format!("n={user},r={nonce}"),
            nonce,
            expected: Vec::new(),
        }
    }

    /// What we say first.
    pub fn first(&self) -> String {
        format!("n,,{}", self.first)
    }

    /// What we say to the broker's challenge.
    pub fn prove(&mut self, challenge: &[u8]) -> Result<String, BrokerError> {
        let wrong = || broken("a challenge that makes no sense");
        let challenge = std::str::from_utf8(challenge).map_err(|_| wrong())?;
        let part = |name: &str| {
            (challenge.split(',')).find_map(|part| part.strip_prefix(name)?.strip_prefix('='))
        };
        let (nonce, salt) = (part("r").ok_or_else(wrong)?, part("s").ok_or_else(wrong)?);
        if !nonce.starts_with(&self.nonce) {
            return Err(broken("a challenge to somebody else"));
        }
        let salt = STANDARD.decode(salt).map_err(|_| wrong())?;
        let rounds = part("i").and_then(|i| i.parse::<NonZeroU32>().ok());
        let rounds = rounds
            .filter(|i| i.get() <= MOST_ROUNDS)
            .ok_or_else(wrong)?;
        let (stretch, mac, hash) = self.kind;
        let mut salted = vec![0; hash.output_len()];
        pbkdf2::derive(
            stretch,
            rounds,
            &salt,
            self.password.as_bytes(),
            &mut salted,
        );
        let sign = |key: &[u8], text: &[u8]| {
            hmac::sign(&hmac::Key::new(mac, key), text)
                .as_ref()
                .to_vec()
        };
        // `biws` is the head `n,,` once more.
        let last = format!("c=biws,r={nonce}");
        let all = format!("{},{challenge},{last}", self.first);
        let client = sign(&salted, b"Client Key");
        let signature = sign(digest::digest(hash, &client).as_ref(), all.as_bytes());
        let proof: Vec<u8> = client.iter().zip(&signature).map(|(a, b)| a ^ b).collect();
        self.expected = sign(&sign(&salted, b"Server Key"), all.as_bytes());
        Ok(format!("{last},p={}", STANDARD.encode(proof)))
    }

    /// Whether the broker knows the password too. Some say here that they refuse, and why: `e=unknown-user`.
    pub fn verify(&self, said: &[u8]) -> Result<(), BrokerError> {
        if let Some(why) = said.strip_prefix(b"e=") {
            let why = String::from_utf8_lossy(why);
            return Err(BrokerError::Refused(format!("the login failed: {why}")));
        }
        let shown = said.strip_prefix(b"v=").map(|v| STANDARD.decode(v));
        match shown {
            Some(Ok(shown)) if shown == self.expected && !shown.is_empty() => Ok(()),
            _ => Err(BrokerError::Refused(
                "the broker does not prove that it knows the password".into(),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 7677.
    #[test]
    fn the_example_of_the_standard_holds() {
        let nonce = "rOprNGfwEbeRWgbNEkqO".to_owned();
        let mut scram = Scram::with(Mechanism::Scram256, "user", "pencil", nonce);
        assert_eq!(scram.first(), "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let challenge = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
        assert_eq!(
            scram.prove(challenge).unwrap(),
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        );
        let proof = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";
        assert!(scram.verify(proof).is_ok());
        assert!(scram.verify(b"v=AAAA").is_err());
        let refused = scram.verify(b"e=unknown-user").unwrap_err().to_string();
        assert!(
            refused.contains("the login failed: unknown-user"),
            "{refused}"
        );
    }

    #[test]
    fn challenges_that_make_no_sense_are_errors() {
        let mut scram = Scram::with(Mechanism::Scram512, "a=b,c", "x", "n".into());
        assert_eq!(scram.first(), "n,,n=a=3Db=2Cc,r=n");
        for challenge in [
            &b"r=other,s=AAAA,i=1"[..],
            b"r=nn,s=?,i=1",
            b"r=nn,s=AAAA,i=0",
            b"r=nn,s=AAAA,i=4000000000",
            b"s=AAAA",
            b"\xff",
        ] {
            assert!(scram.prove(challenge).is_err());
        }
        assert!(scram.verify(b"v=").is_err());
    }
}
