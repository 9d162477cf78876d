//! One call from beginning to end: what is read, who is asked in which order, what is taken back. Never writes to stdout itself.

use std::{fs, io::Read};

use netd_api::{
    cni::{CniAdded, CniKey},
    message::{Reply, Request},
};
use serde_json::{Value, json};

use crate::{
    ask::Daemon,
    config::{Config, MOST_BYTES, decode},
    conflist,
    delegate::Delegate,
    env::{Attachment, Variables, Verb},
    error::{BAD_CONFIG, CniError, DELEGATE_FAILED, During, IO, LIMITED, NOT_AS_MADE, NOT_UNDERSTOOD, UNABLE, of},
    result,
    spec::{Allocation, Dns},
    translate,
    version::{Version, supported},
    wish::{Network, Wish},
};

/// What is to be printed, and what is to be done if nobody reads it.
pub struct Answer {
    text: Option<Value>,
    error: bool,
    undo: Option<Undo>,
}

/// All that takes an ADD back.
struct Undo {
    daemon: Daemon,
    key: CniKey,
    delegate: Option<(Delegate, Vec<u8>)>,
}

impl Answer {
    /// The JSON document, where there is one.
    pub fn text(&self) -> Option<String> {
        self.text.as_ref().map(Value::to_string)
    }

    /// Whether it is an error object.
    pub fn is_error(&self) -> bool {
        self.error
    }

    /// Nobody read it. A runtime that does not know of an attachment cannot end it.
    pub fn was_lost(&self) {
        if let Some(undo) = &self.undo {
            let _ = undo.daemon.undo(&undo.key);
            if let Some((delegate, stdin)) = &undo.delegate {
                let _ = delegate.run("DEL", stdin);
            }
        }
    }

    fn of(text: Option<Value>) -> Self {
        Self { text, error: false, undo: None }
    }
}

/// Answers a call.
pub fn answer(variables: &Variables, stdin: impl Read) -> Answer {
    let mut version = Version::NEWEST;
    answered(variables, stdin, &mut version).unwrap_or_else(|error| Answer { text: Some(error.object(version)), error: true, undo: None })
}

fn answered(variables: &Variables, stdin: impl Read, version: &mut Version) -> Result<Answer, CniError> {
    let verb = Verb::of(variables)?;
    verb.has_all(variables)?;
    let mut bytes = Vec::new();
    let read = stdin.take(MOST_BYTES + 1).read_to_end(&mut bytes);
    if verb == Verb::Version {
        return Ok(Answer::of(Some(versions(&bytes))));
    }
    read.map_err(|why| CniError::new(IO, format!("the network configuration could not be read from stdin: {why}")))?;
    let value = decode(&bytes)?;
    *version = Version::meant(&value)?;
    let call = Call { config: Config::of(&value, variables, verb)?, value, stdin: bytes, variables };
    match verb {
        Verb::Add => call.add(),
        Verb::Del => call.del().map(|()| Answer::of(None)),
        Verb::Check => call.check().map(|()| Answer::of(None)),
        Verb::Status => call.status().map(|()| Answer::of(None)),
        Verb::Gc => call.gc().map(|()| Answer::of(None)),
        Verb::Version => Ok(Answer::of(None)),
    }
}

/// VERSION: in the version of the question, where it says one.
fn versions(stdin: &[u8]) -> Value {
    let said = serde_json::from_slice::<Value>(stdin).ok();
    let said = said.as_ref().and_then(|said| said.get("cniVersion")).and_then(Value::as_str).and_then(Version::named);
    json!({ "cniVersion": said.unwrap_or(Version::NEWEST).as_str(), "supportedVersions": supported() })
}

struct Call<'a> {
    config: Config,
    value: Value,
    stdin: Vec<u8>,
    variables: &'a Variables,
}

impl Call<'_> {
    fn add(self) -> Result<Answer, CniError> {
        let attachment = Attachment::of(self.variables)?;
        let wish = Wish::of(&self.value, &self.config.name, &self.config.ipam, attachment.ifname.as_str(), &attachment.args)?;
        if let Some((why, hint)) = conflist::unworkable(&self.config) {
            return Err(CniError::new(BAD_CONFIG, why).details(hint));
        }
        // What can be refused is refused before another program has given an address.
        self.config.network_name()?;
        let resolv_conf = wish.ipam.resolv_conf.as_deref().map(|path| {
            fs::read_to_string(path)
                .map_err(|why| CniError::new(IO, format!("ipam.resolvConf {} could not be read: {why}", path.display())))
        });
        let resolv_conf = Dns::of_resolv_conf(&resolv_conf.transpose()?.unwrap_or_default());
        let delegate = self.delegate()?;
        let brought = match &delegate {
            Some(delegate) => Some(self.allocation(delegate)?),
            None => None,
        };
        let made = self.attach(&attachment, &wish, brought.as_ref());
        let added = made.map_err(|error| match &delegate {
            Some(delegate) => match delegate.run("DEL", &self.stdin) {
                Ok(_) => error,
                Err(more) => error.and(&more.msg),
            },
            None => error,
        })?;
        let dns =
            wish.runtime.dns.or(wish.dns).or(wish.ipam.dns).or(brought.map(|brought| brought.dns).unwrap_or_default()).or(resolv_conf);
        let previous = self.config.previous.as_ref();
        let text = result::added(self.config.version, &added, attachment.ifname.as_str(), &attachment.netns, &dns, previous);
        let key = CniKey { config: self.config.network_name()?, container: attachment.container, ifname: attachment.ifname };
        let undo = Undo { daemon: Daemon::of(&self.config), key, delegate: delegate.map(|delegate| (delegate, self.stdin)) };
        Ok(Answer { text: Some(text), error: false, undo: Some(undo) })
    }

    fn attach(&self, attachment: &Attachment, wish: &Wish, brought: Option<&Allocation>) -> Result<CniAdded, CniError> {
        let add = translate::add(&self.config, wish, attachment, brought)?;
        let bridge = match &wish.network {
            Network::Inline { inline, .. } => inline.bridge.as_ref().map(|bridge| bridge.as_str()),
            Network::Named(_) => None,
        };
        let during = During::Add { ifname: attachment.ifname.as_str(), netns: &attachment.netns, bridge };
        let key = add.key.clone();
        match Daemon::of(&self.config).add(&Request::CniAdd(Box::new(add)), &key) {
            Ok(Reply::CniAdded(added)) => Ok(*added),
            Ok(_) => Err(not_understood()),
            Err((error, undone)) => {
                let error = of(&error, during);
                Err(match undone {
                    None => error,
                    Some(more) => error.and(&format!("whether it was made is not known, and taking it back failed: {}", more.msg)),
                })
            }
        }
    }

    /// The delegate's ADD. One that gave no address that can be read is taken back.
    fn allocation(&self, delegate: &Delegate) -> Result<Allocation, CniError> {
        let taken_back = |error: CniError| {
            let _ = delegate.run("DEL", &self.stdin);
            error
        };
        let value = delegate.run("ADD", &self.stdin).map_err(taken_back)?;
        let none = || {
            CniError::new(
                DELEGATE_FAILED,
                format!("ipam plugin {}: ADD: it gave no address", self.config.ipam.program().unwrap_or_default()),
            )
        };
        let allocation = Allocation::of(&value.unwrap_or_else(|| json!({}))).map_err(|error| {
            taken_back(CniError { code: DELEGATE_FAILED, msg: format!("the ipam plugin's result: {}", error.msg), ..error })
        })?;
        if allocation.addresses.is_empty() {
            return Err(taken_back(none()));
        }
        Ok(allocation)
    }

    fn delegate(&self) -> Result<Option<Delegate>, CniError> {
        let path = self.variables.raw("CNI_PATH").map(|path| path.as_os_str());
        self.config.ipam.program().map(|name| Delegate::find(name, path, self.config.answer)).transpose()
    }

    /// Runs the delegate for a verb that prints nothing, where there is one.
    fn delegated(&self, verb: &str) -> Result<(), CniError> {
        self.delegate()?.map_or(Ok(()), |delegate| delegate.run(verb, &self.stdin).map(|_| ()))
    }

    /// Ours first: an address that is still in use must not be given to somebody else.
    fn del(&self) -> Result<(), CniError> {
        let named = Attachment::to_remove(self.variables)?;
        if let (Some((container, ifname)), Ok(config)) = (named, self.config.network_name()) {
            Daemon::of(&self.config).del(&CniKey { config, container, ifname })?;
        }
        self.delegated("DEL")
    }

    fn check(&self) -> Result<(), CniError> {
        self.speaks("CHECK", Version::V040)?;
        let attachment = Attachment::of(self.variables)?;
        let check = translate::check(&self.config, &attachment)?;
        match Daemon::of(&self.config).ask_patiently(&Request::CniCheck(Box::new(check))) {
            Ok(Reply::CniChecked(checked)) if checked.wrong.is_empty() => self.delegated("CHECK"),
            Ok(Reply::CniChecked(checked)) => Err(CniError::new(
                NOT_AS_MADE,
                format!(
                    "{} of container {} on network {} is not as it was made: {}",
                    attachment.ifname,
                    attachment.container,
                    self.config.name,
                    checked.wrong.join("; ")
                ),
            )
            .details("see what netd will do about it (netctl plan, netctl status)")),
            Ok(_) => Err(not_understood()),
            Err(error) => Err(of(&error, During::Check)),
        }
    }

    fn status(&self) -> Result<(), CniError> {
        self.speaks("STATUS", Version::V110)?;
        let status = translate::status(&self.config, &self.value)?;
        if let Some((why, hint)) = conflist::unworkable(&self.config) {
            return Err(CniError::new(UNABLE, why).details(hint));
        }
        let readiness = match Daemon::of(&self.config).ask(&Request::CniStatus(Box::new(status))) {
            Ok(Reply::CniReadiness(readiness)) => readiness,
            Ok(_) => return Err(not_understood()),
            Err(error) => return Err(of(&error, During::Status)),
        };
        if let Some(unable) = readiness.unable {
            return Err(CniError::new(UNABLE, unable.what).details(unable.hint));
        }
        self.delegated("STATUS")?;
        if readiness.limited.is_empty() {
            return Ok(());
        }
        let joined = |part: fn(&netd_api::view::Trouble) -> &str| {
            readiness.limited.iter().map(part).filter(|text| !text.is_empty()).collect::<Vec<_>>().join("; ")
        };
        Err(CniError::new(LIMITED, joined(|trouble| &trouble.what)).details(joined(|trouble| &trouble.hint)))
    }

    /// Both are tidied, whatever became of the first.
    fn gc(&self) -> Result<(), CniError> {
        self.speaks("GC", Version::V110)?;
        let ours = match translate::gc(&self.config, &self.value)? {
            Some(gc) => {
                Daemon::of(&self.config).ask_patiently(&Request::CniGc(gc)).map(|_| ()).map_err(|error| of(&error, During::Removal))
            }
            None => Ok(()),
        };
        match (ours, self.delegated("GC")) {
            (Err(ours), Err(theirs)) => Err(ours.and(&theirs.msg)),
            (ours, theirs) => ours.and(theirs),
        }
    }

    fn speaks(&self, verb: &str, since: Version) -> Result<(), CniError> {
        if self.config.version >= since {
            return Ok(());
        }
        Err(CniError::new(crate::error::INCOMPATIBLE_VERSION, format!("config version does not allow {verb}"))
            .details(format!("{verb} came with {since}, and the configuration says {}", self.config.version)))
    }
}

fn not_understood() -> CniError {
    CniError::new(NOT_UNDERSTOOD, "netd answered something else than was asked").details("netd-cni and netd must be of one version")
}
