//! Applies and removes policies and the labels of namespaces in the wish. Never says what a policy amounts to in maps.

use std::{collections::BTreeMap, sync::Arc};

use netd_api::{
    fault::{Code, Fault},
    names::Namespace,
    policy::{PoliciesApplied, PolicyApplied, PolicyChange, PolicyFiles, PolicyName},
    spec::Labels,
};

use crate::{
    desired::{Change, Desired, Edit},
    policy::{
        model::{NamespaceLabels, Policy},
        parse::{File, OtherKinds, Parsed, TEXT_MOST, parse},
        pod,
    },
    suggest::nearest,
};

/// What files say.
///
/// # Errors
/// All that is wrong with them, by file and line.
pub fn read(files: &PolicyFiles) -> Result<Parsed, Fault> {
    let texts: Vec<File<'_>> = files.files.iter().map(|file| File { name: &file.name, text: &file.text }).collect();
    let other_kinds = if files.skip_other_kinds { OtherKinds::Skip } else { OtherKinds::Refuse };
    let parsed = parse(&texts, other_kinds).map_err(|errors| {
        Fault::new(Code::BadRequest, format!("cannot apply policies:\n{errors}"))
            .hint("nothing was applied; mend the files and apply them again")
    })?;
    // It is kept as this text, and read again at the next start.
    match parsed.policies.iter().find(|policy| policy.source.len() > TEXT_MOST) {
        Some(policy) => Err(Fault::new(
            Code::BadRequest,
            format!("cannot apply policy {}: written out it has more than {} MiB", policy.name, TEXT_MOST >> 20),
        )
        .hint("make several policies of it")),
        None => Ok(parsed),
    }
}

/// What the files change: policies that are new or say something else, and labels of namespaces that differ.
///
/// # Errors
/// As [`read`].
pub fn apply(desired: &Desired, files: &PolicyFiles) -> Result<Change, Fault> {
    Ok(edits(desired, read(files)?))
}

fn edits(desired: &Desired, parsed: Parsed) -> Change {
    let policies = parsed.policies.into_iter().filter_map(|policy| {
        let before = desired.policies().get(&policy.name);
        let differs = before.is_none_or(|before| **before != policy);
        differs.then(|| Edit::Policy { name: policy.name.clone(), before: before.cloned(), after: Some(Arc::new(policy)) })
    });
    let namespaces = parsed.namespaces.into_iter().filter_map(|NamespaceLabels { namespace, labels }| {
        let before = desired.namespaces().get(&namespace).cloned();
        let after = Some(labels).filter(|labels| !labels.is_empty());
        (before != after).then_some(Edit::Namespace { namespace, before, after })
    });
    // Labels first: a policy that speaks of them finds them.
    let mut edits: Vec<Edit> = namespaces.collect();
    edits.extend(policies);
    Change { edits }
}

/// What applying the files to this wish does to each policy, and whom each selects then.
///
/// # Errors
/// As [`read`].
pub fn applied(before: &Desired, files: &PolicyFiles) -> Result<PoliciesApplied, Fault> {
    let parsed = read(files)?;
    let mut namespaces: BTreeMap<Namespace, Labels> = before.namespaces().clone();
    namespaces.extend(parsed.namespaces.iter().map(|each| (each.namespace.clone(), each.labels.clone())));
    let policies = parsed.policies.iter().map(|policy| PolicyApplied {
        name: policy.name.clone(),
        change: became(before, policy),
        selects: pod::selected(policy, &namespaces, before.containers().values().map(AsRef::as_ref)),
    });
    Ok(PoliciesApplied {
        policies: policies.collect(),
        namespaces: parsed.namespaces.iter().map(|each| each.namespace.clone()).collect(),
        changed_flows: Vec::new(),
        judged_flows: 0,
    })
}

fn became(before: &Desired, policy: &Policy) -> PolicyChange {
    match before.policies().get(&policy.name) {
        None => PolicyChange::Created,
        Some(there) if **there == *policy => PolicyChange::Unchanged,
        Some(_) => PolicyChange::Changed,
    }
}

/// A policy by its name.
///
/// # Errors
/// There is none of that name; the hint has the one that was meant, perhaps.
pub fn find<'a>(desired: &'a Desired, name: &PolicyName) -> Result<&'a Arc<Policy>, Fault> {
    desired.policies().get(name).ok_or_else(|| {
        let names: Vec<String> = desired.policies().keys().map(ToString::to_string).collect();
        let elsewhere = desired.policies().keys().find(|other| other.name == name.name).map(ToString::to_string);
        let near = elsewhere.or_else(|| nearest(&name.to_string(), names.iter().map(String::as_str)).map(str::to_owned));
        let hint = near.map_or_else(|| "see `netctl policy ls`".to_owned(), |near| format!("did you mean {near}? see `netctl policy ls`"));
        Fault::new(Code::NotFound, format!("there is no policy {name}")).hint(hint)
    })
}

/// Takes a policy away.
pub(super) fn remove(desired: &Desired, name: &PolicyName) -> Result<Change, Fault> {
    let before = Arc::clone(find(desired, name)?);
    Ok(Change { edits: vec![Edit::Policy { name: name.clone(), before: Some(before), after: None }] })
}

/// Takes away all policies, and the labels of all namespaces.
pub(super) fn everything_gone(desired: &Desired) -> impl Iterator<Item = Edit> + '_ {
    let policies =
        desired.policies().iter().map(|(name, policy)| Edit::Policy { name: name.clone(), before: Some(Arc::clone(policy)), after: None });
    let namespaces = desired.namespaces().iter().map(|(namespace, labels)| Edit::Namespace {
        namespace: namespace.clone(),
        before: Some(labels.clone()),
        after: None,
    });
    policies.chain(namespaces)
}

#[cfg(test)]
mod tests;
