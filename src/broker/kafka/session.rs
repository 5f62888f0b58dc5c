//! Connections to a cluster: one to a broker, let in, on which is asked and answered; and which broker leads what.

use super::api::{self, Api, Cluster};
use super::config::Mechanism;
use super::sasl::Scram;
use super::wire::{Put, Reader, broken};
use crate::broker::link::{Link, read_on};
use crate::broker::{BrokerError, Endpoint, KafkaConfig, Login};
use std::ops::Range;
use tokio::io::AsyncRead;

/// Longest answer that is taken.
const MOST: usize = 64 << 20;

/// A connection to a broker, let in.
pub struct Wire {
    /// The connection.
    pub link: Link,
    /// Number of the last request.
    pub asked: i32,
    /// Kinds of requests that the broker knows in the version that we speak.
    known: Vec<Api>,
}

/// All that cannot be done without.
const NEEDED: [(Api, &str); 4] = [
    (api::PRODUCE, "Produce"),
    (api::FETCH, "Fetch"),
    (api::LIST_OFFSETS, "ListOffsets"),
    (api::METADATA, "Metadata"),
];

impl Wire {
    /// Connects and logs in.
    pub async fn open(config: &KafkaConfig, endpoint: &Endpoint) -> Result<Wire, BrokerError> {
        let mut link = Link::connect(endpoint).await?;
        if endpoint.tls {
            link = link.secure(&config.tls, endpoint).await?;
        }
        let mut wire = Wire {
            link,
            asked: 0,
            known: Vec::new(),
        };
        let answer = wire.ask(api::API_VERSIONS, |_| ()).await?;
        let spoken = api::versions(&answer)?;
        let speaks = |api: &Api| {
            (spoken.iter()).any(|(key, from, to)| *key == api.0 && (*from..=*to).contains(&api.1))
        };
        if let Some((api, name)) = NEEDED.iter().find(|(api, _)| !speaks(api)) {
            let version = api.1;
            return Err(BrokerError::Protocol(format!(
                "it does not speak version {version} of {name}, as brokers from 0.11 on do"
            )));
        }
        wire.known = [api::INIT_PRODUCER_ID].into();
        wire.known.retain(speaks);
        if let Login::Password(user, password) = &config.login {
            wire.login(config.mechanism, user, password).await?;
        }
        Ok(wire)
    }

    /// Whether the broker knows this.
    pub fn knows(&self, api: Api) -> bool {
        self.known.contains(&api)
    }

    async fn login(
        &mut self,
        mechanism: Mechanism,
        user: &str,
        password: &str,
    ) -> Result<(), BrokerError> {
        let name = mechanism.name();
        let answer = self.ask(api::SASL_HANDSHAKE, |out| out.string(name));
        let answer = answer.await?;
        let (error, others) = api::mechanisms(&answer)?;
        if error != 0 {
            let text = format!("{name} is none of its mechanisms: {}", others.join(", "));
            return Err(BrokerError::Refused(text));
        }
        if mechanism == Mechanism::Plain {
            let shown = format!("\0{user}\0{password}");
            self.authenticate(shown.as_bytes()).await?;
            return Ok(());
        }
        let mut scram = Scram::new(mechanism, user, password)?;
        let challenge = self.authenticate(scram.first().as_bytes()).await?;
        let proof = scram.prove(&challenge)?;
        let signature = self.authenticate(proof.as_bytes()).await?;
        scram.verify(&signature)
    }

    async fn authenticate(&mut self, bytes: &[u8]) -> Result<Vec<u8>, BrokerError> {
        let answer = self.ask(api::SASL_AUTHENTICATE, |out| out.bytes(bytes));
        let answer = answer.await?;
        let (error, what, said) = api::step(&answer)?;
        match error {
            0 => Ok(said.to_vec()),
            _ if what.is_empty() => Err(BrokerError::Refused(api::meaning(error))),
            _ => Err(BrokerError::Refused(what.to_owned())),
        }
    }

    /// Asks, and waits for the answer: its body.
    pub async fn ask(
        &mut self,
        api: Api,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Result<Vec<u8>, BrokerError> {
        self.asked = self.asked.wrapping_add(1);
        let mut out = Vec::new();
        let at = api::open(&mut out, api, self.asked);
        write(&mut out);
        api::close(&mut out, at);
        self.link.write(&out).await?;
        loop {
            if let Some((correlation, body)) = frame(&self.link.buffer)? {
                let answer = self.link.buffer[body.clone()].to_vec();
                self.link.buffer.drain(..body.end);
                if correlation != self.asked {
                    return Err(broken("an answer to something that was not asked"));
                }
                return Ok(answer);
            }
            self.link.read().await?;
        }
    }

    /// What the cluster says of these topics; each must be there, with a leader for all of its partitions.
    pub async fn cluster(&mut self, topics: &[String]) -> Result<Cluster, BrokerError> {
        let names = topics.iter().map(String::as_str);
        let answer = self.ask(api::METADATA, |out| api::metadata(out, names));
        let cluster = api::cluster(&answer.await?)?;
        for topic in topics {
            let found = cluster.topics.iter().find(|t| t.name == *topic);
            let error = match found {
                None => 3,
                Some(found) if found.error != 0 => found.error,
                Some(found) if found.leaders.is_empty() => 3,
                Some(found) if found.leaders.iter().any(|l| cluster.node(*l).is_none()) => 5,
                Some(_) => continue,
            };
            let what = format!("topic {topic}: {}", api::meaning(error));
            return Err(BrokerError::Refused(what));
        }
        Ok(cluster)
    }
}

impl Cluster {
    /// Where a node is, if it is there.
    fn node(&self, id: i32) -> Option<&api::Node> {
        self.nodes
            .iter()
            .find(|node| node.id == id && node.port != 0)
    }

    /// Of each partition of a topic its leader.
    pub fn leaders(&self, topic: &str) -> &[i32] {
        let found = self.topics.iter().find(|t| t.name == topic);
        found.map_or(&[], |topic| &topic.leaders)
    }
}

/// Connections to all that lead a partition of these topics, by the leaders' numbers; the one that was asked is among them if
/// it is one. What cannot be reached of them is an error: a cluster is there, or it is not.
pub async fn reach(
    config: &KafkaConfig,
    endpoint: &Endpoint,
    mut asked: Option<Wire>,
    cluster: &Cluster,
    topics: &[String],
) -> Result<Vec<(i32, Wire)>, BrokerError> {
    let mut ids: Vec<i32> = topics
        .iter()
        .flat_map(|topic| cluster.leaders(topic).iter().copied())
        .collect();
    ids.sort_unstable();
    ids.dedup();
    let mut wires = Vec::new();
    for id in ids {
        let node = cluster.node(id);
        let node = node.ok_or_else(|| BrokerError::Refused(api::meaning(5)))?;
        let at = Endpoint {
            tls: endpoint.tls,
            host: node.host.clone(),
            port: node.port,
        };
        let wire = match asked.take_if(|_| at == *endpoint) {
            Some(wire) => wire,
            None => Wire::open(config, &at).await?,
        };
        wires.push((id, wire));
    }
    Ok(wires)
}

/// The first answer in what came: to which request, and where its body is; behind that the next begins.
pub fn frame(buffer: &[u8]) -> Result<Option<(i32, Range<usize>)>, BrokerError> {
    let mut r = Reader(buffer);
    if buffer.len() < 8 {
        return Ok(None);
    }
    let length = usize::try_from(r.i32()?).unwrap_or(0);
    if !(4..=MOST).contains(&length) {
        return Err(broken("an answer of a length that makes no sense"));
    }
    let correlation = r.i32()?;
    let end = 4 + length;
    Ok((buffer.len() >= end).then_some((correlation, 8..end)))
}

/// Reads answers for ever, and hands each on with the number of its request; why it ended.
pub async fn answers(
    mut reader: impl AsyncRead + Unpin,
    mut buffer: Vec<u8>,
    mut each: impl FnMut(i32, &[u8]) -> Result<(), BrokerError>,
) -> BrokerError {
    loop {
        let mut used = 0;
        loop {
            match frame(&buffer[used..]) {
                Ok(Some((correlation, body))) => {
                    let after = used + body.end;
                    if let Err(why) = each(correlation, &buffer[used + body.start..after]) {
                        return why;
                    }
                    used = after;
                }
                Ok(None) => break,
                Err(why) => return why,
            }
        }
        buffer.drain(..used);
        if let Err(why) = read_on(&mut reader, &mut buffer).await {
            return why;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_cut_out_of_what_came() {
        let bytes = b"\0\0\0\x06\0\0\0\x09hi\0\0";
        for cut in 0..10 {
            assert_eq!(frame(&bytes[..cut]).unwrap(), None);
        }
        assert_eq!(frame(bytes).unwrap(), Some((9, 8..10)));
        assert!(frame(b"\0\0\0\x03\0\0\0\x09").is_err());
        assert!(frame(b"\xff\0\0\0\0\0\0\x09").is_err());
        assert!(frame(b"HTTP/1.1 400").is_err());
    }
}
