//! A small client of the kubelet's side of CRI, `runtime.v1`: the calls and fields that stories use, as protobuf over gRPC over HTTP/2 over a
//! Unix socket. Never retries, and never hides what the runtime said.

use std::{collections::HashMap, path::PathBuf, time::Duration};

use prost::{
    Message,
    bytes::{BufMut, Bytes, BytesMut},
};

/// How long a call may take: a sandbox is there within a second.
const PATIENCE: Duration = Duration::from_secs(20);
/// A gRPC message is preceded by a byte that says whether it is compressed, and by its length.
const PREFIX: usize = 5;

/// A runtime's socket.
#[derive(Debug)]
pub struct Cri(pub PathBuf);

/// Why there is no answer: the runtime's words, or the connection's.
#[derive(Debug)]
pub struct Refused(pub String);

impl Cri {
    /// Makes a sandbox; gives its id.
    pub fn run(&self, config: PodSandboxConfig) -> Result<String, Refused> {
        let asked = RunPodSandboxRequest { config: Some(config) };
        self.call::<_, Sandbox>("RunPodSandbox", &asked).map(|made| made.id)
    }

    /// How a sandbox is.
    pub fn sandbox(&self, id: &str) -> Result<PodSandboxStatus, Refused> {
        let answer: PodSandboxStatusResponse = self.call("PodSandboxStatus", &Sandbox { id: id.to_owned() })?;
        answer.status.ok_or_else(|| Refused("a status without a status".to_owned()))
    }

    /// Stops a sandbox: its network goes.
    pub fn stop(&self, id: &str) -> Result<(), Refused> {
        self.call::<_, Nothing>("StopPodSandbox", &Sandbox { id: id.to_owned() }).map(drop)
    }

    /// Removes a sandbox.
    pub fn remove(&self, id: &str) -> Result<(), Refused> {
        self.call::<_, Nothing>("RemovePodSandbox", &Sandbox { id: id.to_owned() }).map(drop)
    }

    /// The sandboxes that are there.
    pub fn sandboxes(&self) -> Result<Vec<PodSandbox>, Refused> {
        self.call::<_, ListPodSandboxResponse>("ListPodSandbox", &Nothing {}).map(|list| list.items)
    }

    /// What the runtime says of itself: whether it and its network are ready.
    pub fn conditions(&self) -> Result<Vec<RuntimeCondition>, Refused> {
        let answer: StatusResponse = self.call("Status", &Nothing {})?;
        Ok(answer.status.unwrap_or_default().conditions)
    }

    fn call<Asked: Message, Answer: Message + Default>(&self, method: &str, asked: &Asked) -> Result<Answer, Refused> {
        let path = format!("http://localhost/runtime.v1.RuntimeService/{method}");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
        let call = async { tokio::time::timeout(PATIENCE, self.exchange(&path, framed(asked))).await };
        let answer = runtime.block_on(call).map_err(|_| Refused(format!("no answer to {method} within {PATIENCE:?}")))?;
        let answer = answer.map_err(|why| Refused(format!("{method}: {why}")))?;
        Answer::decode(answer.get(PREFIX..).unwrap_or_default()).map_err(|why| Refused(format!("{method}: {why}")))
    }

    async fn exchange(&self, path: &str, asked: Bytes) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
        let stream = tokio::net::UnixStream::connect(&self.0).await?;
        let (sender, connection) = h2::client::handshake(stream).await?;
        tokio::task::spawn(connection);
        let request = http::Request::post(path).header("content-type", "application/grpc").header("te", "trailers").body(())?;
        let (response, mut body) = sender.ready().await?.send_request(request, false)?;
        body.send_data(asked, true)?;
        let (head, mut body) = response.await?.into_parts();
        let mut answer = Vec::new();
        while let Some(part) = body.data().await {
            let part = part?;
            answer.extend_from_slice(&part);
            body.flow_control().release_capacity(part.len())?;
        }
        // A refusal without a body has its status in the head.
        let trailers = body.trailers().await?.unwrap_or(head.headers);
        let said = |name: &str| trailers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
        if said("grpc-status") == "0" { Ok(answer) } else { Err(said("grpc-message").into()) }
    }
}

fn framed(message: &impl Message) -> Bytes {
    let mut bytes = BytesMut::with_capacity(PREFIX + message.encoded_len());
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(message.encoded_len()).expect("a story's message is short"));
    message.encode(&mut bytes).expect("there is room");
    bytes.freeze()
}

/// A sandbox to be.
#[derive(Clone, PartialEq, Message)]
pub struct PodSandboxConfig {
    /// What it is called.
    #[prost(message, optional, tag = "1")]
    pub metadata: Option<PodSandboxMetadata>,
    /// Its UTS host name.
    #[prost(string, tag = "2")]
    pub hostname: String,
    /// Host ports.
    #[prost(message, repeated, tag = "5")]
    pub port_mappings: Vec<PortMapping>,
    /// The pod's annotations.
    #[prost(map = "string, string", tag = "7")]
    pub annotations: HashMap<String, String>,
    /// What only Linux has; containerd asks for its presence.
    #[prost(message, optional, tag = "8")]
    pub linux: Option<Nothing>,
}

/// What a sandbox is called.
#[derive(Clone, PartialEq, Message)]
pub struct PodSandboxMetadata {
    /// The pod's name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// The pod's unique id.
    #[prost(string, tag = "2")]
    pub uid: String,
    /// The pod's namespace.
    #[prost(string, tag = "3")]
    pub namespace: String,
    /// Which try this is.
    #[prost(uint32, tag = "4")]
    pub attempt: u32,
}

/// A host port.
#[derive(Clone, PartialEq, Message)]
pub struct PortMapping {
    /// 0 TCP, 1 UDP, 2 SCTP.
    #[prost(int32, tag = "1")]
    pub protocol: i32,
    /// The port in the sandbox.
    #[prost(int32, tag = "2")]
    pub container_port: i32,
    /// The port of the host.
    #[prost(int32, tag = "3")]
    pub host_port: i32,
    /// The address of the host; empty: all.
    #[prost(string, tag = "4")]
    pub host_ip: String,
}

/// A message without fields, or one whose fields nobody reads.
#[derive(Clone, PartialEq, Message)]
pub struct Nothing {}

#[derive(Clone, PartialEq, Message)]
struct RunPodSandboxRequest {
    #[prost(message, optional, tag = "1")]
    config: Option<PodSandboxConfig>,
}

/// The first field of the requests about a sandbox, and of the answer to the one that makes it.
#[derive(Clone, PartialEq, Message)]
struct Sandbox {
    #[prost(string, tag = "1")]
    id: String,
}

#[derive(Clone, PartialEq, Message)]
struct PodSandboxStatusResponse {
    #[prost(message, optional, tag = "1")]
    status: Option<PodSandboxStatus>,
}

/// How a sandbox is.
#[derive(Clone, PartialEq, Message)]
pub struct PodSandboxStatus {
    /// Its id.
    #[prost(string, tag = "1")]
    pub id: String,
    /// 0 ready, 1 not ready.
    #[prost(int32, tag = "3")]
    pub state: i32,
    /// Its addresses.
    #[prost(message, optional, tag = "5")]
    pub network: Option<PodSandboxNetworkStatus>,
}

/// A sandbox's addresses.
#[derive(Clone, PartialEq, Message)]
pub struct PodSandboxNetworkStatus {
    /// The first.
    #[prost(string, tag = "1")]
    pub ip: String,
    /// The others.
    #[prost(message, repeated, tag = "2")]
    pub additional_ips: Vec<PodIp>,
}

/// A further address of a sandbox.
#[derive(Clone, PartialEq, Message)]
pub struct PodIp {
    /// The address.
    #[prost(string, tag = "1")]
    pub ip: String,
}

#[derive(Clone, PartialEq, Message)]
struct ListPodSandboxResponse {
    #[prost(message, repeated, tag = "1")]
    items: Vec<PodSandbox>,
}

/// A sandbox in a list.
#[derive(Clone, PartialEq, Message)]
pub struct PodSandbox {
    /// Its id.
    #[prost(string, tag = "1")]
    pub id: String,
    /// 0 ready, 1 not ready.
    #[prost(int32, tag = "3")]
    pub state: i32,
}

#[derive(Clone, PartialEq, Message)]
struct StatusResponse {
    #[prost(message, optional, tag = "1")]
    status: Option<RuntimeStatus>,
}

#[derive(Clone, PartialEq, Message)]
struct RuntimeStatus {
    #[prost(message, repeated, tag = "1")]
    conditions: Vec<RuntimeCondition>,
}

/// One thing that a runtime says of itself.
#[derive(Clone, PartialEq, Message)]
pub struct RuntimeCondition {
    /// `RuntimeReady` or `NetworkReady`.
    #[prost(string, tag = "1")]
    pub r#type: String,
    /// Whether it is so.
    #[prost(bool, tag = "2")]
    pub status: bool,
    /// Why, for people.
    #[prost(string, tag = "4")]
    pub message: String,
}
