//! Address prefixes. Never asks whose they are.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{
    report::{Report, short},
    tree::Node,
};
use crate::policy::model::Block;

/// A prefix. Bits behind it are cleared, as Kubernetes does; an IPv4 address in IPv6's clothes is refused, since no packet has one.
pub(super) fn cidr(report: &mut Report, node: &Node<'_>) -> Option<IpNet> {
    let text = report.text(node)?;
    match prefix(text) {
        Some(IpNet::V6(net)) if net.addr().to_ipv4_mapped().is_some() => {
            let hint = "write the IPv4 addresses themselves";
            report.advise(node.line, format!("{:?} is an IPv4 address written as IPv6", short(text)), hint);
            None
        }
        Some(net) => Some(net.trunc()),
        None => {
            let what = format!("{:?} is no address prefix", short(text));
            match text.parse::<IpAddr>() {
                Ok(address) => report.advise(node.line, what, format!("for this one address write {}", IpNet::from(address))),
                Err(_) => report.advise(node.line, what, "write it as 10.0.0.0/8 or fd00::/8"),
            }
            None
        }
    }
}

/// Stricter than ipnet, which reads `010.0.0.0/08` as 10.0.0.0/8: others read the zero as octal.
fn prefix(text: &str) -> Option<IpNet> {
    let (address, length) = text.split_once('/')?;
    let is_number = length.bytes().all(|b| b.is_ascii_digit()) && (length == "0" || !length.starts_with('0'));
    let length = length.parse().ok().filter(|_| is_number)?;
    IpNet::new(address.parse().ok()?, length).ok()
}

/// `ipBlock`: a prefix, without some smaller ones inside it.
pub(super) fn block(report: &mut Report, node: &Node<'_>) -> Option<Block> {
    let fields = report.fields(node, &["cidr", "except"])?;
    let whole = report.required(fields, "cidr", cidr);
    let except = report.optional(fields, "except", |report, node| {
        report.list(node, |report, node| {
            let except = cidr(report, node)?;
            if let Some(whole) = whole
                && !(whole.contains(&except) && whole.prefix_len() < except.prefix_len())
            {
                report.error(node.line, format!("{except} is not a smaller part of {whole}"));
            }
            Some(except)
        })
    });
    let cidr = whole?;
    Some(Block { cidr, except: except.unwrap_or_default() })
}

/// `networks`.
pub(super) fn networks(report: &mut Report, node: &Node<'_>) -> Option<Vec<IpNet>> {
    report.some(node, super::cluster::MOST, cidr)
}
