//! How a group's connections show who they are, as it is written.

use super::{Match, OneOrMany, Scalar, Table};
use crate::scenario::units::Duration;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// Tokens: where they come from, where they are shown, and how they are renewed. Exactly one of `bearer`, `jwt`, `command` and
/// `http` is given.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Auth {
    /// The token, or a list of them that connections take in turn. Templated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bearer: Option<OneOrMany<String>>,
    /// JSON Web Tokens, made for each connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwt: Option<Jwt>,
    /// A command that prints tokens; it is run once, before the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<TokenCommand>,
    /// An HTTP endpoint that gives tokens; it is asked once, before the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<TokenRequest>,
    /// Where the token is shown. Default `header`.
    #[serde(default)]
    pub r#in: TokenPlace,
    /// How long a token lives: of `jwt` its `exp`, in whole seconds; of others from when they are shown. Default: `jwt` for ever,
    /// others as they say themselves, if they are JWTs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Duration>,
    /// How the token of an open connection is renewed. Default `never`.
    #[serde(default)]
    pub renew: Renew,
}

/// JSON Web Tokens. One of `secret` and `key` is given.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Jwt {
    /// How they are signed. Default HS256 by a secret; a key needs it said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<Algorithm>,
    /// The secret that signs, for HS256.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// PEM file of the private key that signs, for RS256 and ES256, inside the scenario's folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The key's name in the token's header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kid: Option<String>,
    /// Claims, such as `sub`, tenant or scope. Texts are templated. `iat`, `exp` and, where there is none, `jti` are added.
    #[serde(default, skip_serializing_if = "Table::is_empty")]
    pub claims: Table<Claim>,
}

/// The value of a claim.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Claim {
    /// true or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number with a fraction.
    Float(f64),
    /// Text. Templated.
    Text(String),
    /// Several.
    List(Vec<Scalar>),
}

impl Claim {
    /// The value, or those of a list.
    pub fn scalars(&self) -> Vec<Scalar> {
        match self {
            Claim::Bool(value) => vec![Scalar::Bool(*value)],
            Claim::Int(value) => vec![Scalar::Int(*value)],
            Claim::Float(value) => vec![Scalar::Float(*value)],
            Claim::Text(value) => vec![Scalar::Text(value.clone())],
            Claim::List(values) => values.clone(),
        }
    }
}

/// How a token is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Algorithm {
    /// HMAC with SHA-256.
    HS256,
    /// RSA (PKCS #1 v1.5) with SHA-256.
    RS256,
    /// ECDSA with P-256 and SHA-256.
    ES256,
}

/// A command that prints tokens.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenCommand {
    /// Program and arguments.
    pub run: Vec<String>,
    /// JSON pointer, in what it prints, to the token or a list of them. Default: each line is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pointer: Option<String>,
    /// How long it may take. Default 10s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<Duration>,
}

/// An HTTP endpoint that gives tokens.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenRequest {
    /// Where: `http://` or `https://`.
    pub url: String,
    /// Method. Default POST.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Headers beside `Host`, `Connection` and `Content-Length`.
    #[serde(default, skip_serializing_if = "Table::is_empty")]
    pub headers: Table<String>,
    /// Body. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// JSON pointer, in the answer, to the token or a list of them. Default /access_token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pointer: Option<String>,
    /// How long it may take. Default 10s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<Duration>,
}

/// Where a token is shown: a usual place, or one that is named.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub enum TokenPlace {
    /// A usual one.
    Usual(UsualPlace),
    /// A named one.
    Named(NamedPlace),
}

impl Default for TokenPlace {
    fn default() -> Self {
        TokenPlace::Usual(UsualPlace::Header)
    }
}

/// A usual place of tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UsualPlace {
    /// `Authorization: Bearer {token}`.
    Header,
    /// Only where `{token}` is written.
    Template,
}

/// A place of tokens, by its name.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum NamedPlace {
    /// A header of the upgrade with this name, whose value is the token alone.
    Header(String),
    /// A parameter of the query with this name.
    Query(String),
    /// A cookie with this name.
    Cookie(String),
    /// A subprotocol beside those offered, such as "bearer.{token}". Templated.
    Subprotocol(String),
    /// The first message. Templated.
    Message(String),
}

/// One list of alternatives, so that a mistake is told of the one that was meant.
impl JsonSchema for TokenPlace {
    fn schema_name() -> Cow<'static, str> {
        "TokenPlace".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        super::name_or_settings(
            UsualPlace::json_schema(generator),
            &NamedPlace::json_schema(generator),
            "Where a token is shown: a usual place, or one that is named.",
        )
    }
}

/// How the token of an open connection is renewed.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Renew {
    /// Not at all.
    Never(Never),
    /// By these rules.
    By(Box<Renewal>),
}

impl Default for Renew {
    fn default() -> Self {
        Renew::Never(Never::Never)
    }
}

/// Not at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Never {
    /// Tokens expire.
    Never,
}

/// When and how a token is renewed. At least one of `every` and `asked` is given.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Renewal {
    /// How often; each connection has its own place in the interval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<Duration>,
    /// Whenever the target sends a message that matches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<Match>,
    /// How the new token gets to the target.
    pub by: RenewBy,
}

/// How a new token gets to the target.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum RenewBy {
    /// By closing the connection with 1000 and opening it again at once.
    Reconnect(ByReconnect),
    /// By a message on the open connection.
    Message(Box<ByMessage>),
}

/// The connection is closed and opened again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ByReconnect {
    /// With 1000, and at once.
    Reconnect,
}

/// A message with the new token.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ByMessage {
    /// The message. Templated.
    pub message: String,
    /// The answer that accepts the new token. Default: none is awaited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<Match>,
    /// How long the answer may take. Default 5s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<Duration>,
}

/// Tokens that the embedded gateway asks for, beside `tokens`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GatewayAuth {
    /// JWTs signed with HS256 by this secret are accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwt_secret: Option<String>,
    /// Code with which a connection is closed when its token has expired. Default 4401.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub close_expired: Option<u16>,
    /// Code with which a connection is closed when its token is revoked. Default 4403.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub close_revoked: Option<u16>,
    /// How long an expired token is still good for an open connection. Default 0s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace: Option<Duration>,
    /// So long before a token expires its client is asked for another: `{"type":"token_expires"}`. Default: it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ask_before: Option<Duration>,
    /// The token may also come in the first message: `{"type":"auth","token":"…"}`.
    #[serde(default)]
    pub by_message: bool,
}
