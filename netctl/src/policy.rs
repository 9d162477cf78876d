//! Policy files as they are read for `policy apply`: files, directories, standard input. Never looks at what stands in them; the daemon does.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use netd_api::policy::{FILES_MOST, PolicyFile, PolicyFiles};

use crate::{
    args::policy::Apply,
    failure::{FAILED, Failure},
};

/// How the names of a directory's policy files end.
const ENDS: [&str; 3] = ["yaml", "yml", "json"];

/// Why files cannot be applied.
#[derive(Debug, thiserror::Error)]
enum FilesError {
    #[error("could not read {name}")]
    Read {
        name: String,
        #[source]
        cause: io::Error,
    },
    #[error("could not read {name}: it is no text, byte {at} is not UTF-8")]
    NoText { name: String, at: usize },
    #[error("could not read {name}: it is larger than {most} MiB", most = FILES_MOST >> 20)]
    Large { name: String },
    #[error("could not apply the {count} files: together they are larger than {most} MiB", most = FILES_MOST >> 20)]
    LargeTogether { count: usize },
    #[error("could not apply {name}: the directory has no *.yaml, *.yml or *.json")]
    Empty { name: String },
}

impl FilesError {
    fn hint(&self) -> String {
        match self {
            Self::Read { .. } => String::new(),
            Self::NoText { .. } => "save it as UTF-8".to_owned(),
            Self::Large { .. } => "split it, and apply the parts one after the other".to_owned(),
            Self::LargeTogether { .. } => "apply them in several calls".to_owned(),
            Self::Empty { .. } => "directories below it are not looked into; name the one with the files".to_owned(),
        }
    }
}

impl From<FilesError> for Failure {
    fn from(error: FilesError) -> Self {
        Self::of(&error, FAILED, error.hint())
    }
}

/// Reads what `policy apply` names, `-` from `stdin`.
pub(crate) fn read(wish: &Apply, mut stdin: impl Read) -> Result<PolicyFiles, Failure> {
    let mut files = PolicyFiles { files: Vec::new(), skip_other_kinds: wish.skip_other_kinds, dry_run: wish.dry_run };
    for path in &wish.files {
        if path == Path::new("-") {
            files.files.push(text("-".to_owned(), &mut stdin)?);
            continue;
        }
        for path in expanded(path)? {
            let name = path.display().to_string();
            let file = File::open(&path).map_err(|cause| FilesError::Read { name: name.clone(), cause })?;
            files.files.push(text(name, file)?);
        }
    }
    // What counts is the body: JSON writes a line's end as two letters.
    let body = serde_json::to_vec(&files).map_err(|error| Failure::of(&error, FAILED, ""))?;
    match (body.len() > FILES_MOST, &files.files[..]) {
        (false, _) => Ok(files),
        (true, [one]) => Err(FilesError::Large { name: one.name.clone() }.into()),
        (true, all) => Err(FilesError::LargeTogether { count: all.len() }.into()),
    }
}

/// The file itself, or of a directory its policy files in the order of their names. Hidden ones are left out: editors put theirs there.
fn expanded(path: &Path) -> Result<Vec<PathBuf>, FilesError> {
    let name = path.display().to_string();
    let failed = |cause| FilesError::Read { name: name.clone(), cause };
    if !fs::metadata(path).map_err(failed)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(path).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let is_hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        let is_ours = path.extension().is_some_and(|end| ENDS.iter().any(|known| end == *known));
        if is_ours && !is_hidden && !path.is_dir() {
            found.push(path);
        }
    }
    found.sort();
    if found.is_empty() { Err(FilesError::Empty { name }) } else { Ok(found) }
}

fn text(name: String, from: impl Read) -> Result<PolicyFile, FilesError> {
    let mut bytes = Vec::new();
    let most = u64::try_from(FILES_MOST).unwrap_or(u64::MAX);
    if let Err(cause) = from.take(most + 1).read_to_end(&mut bytes) {
        return Err(FilesError::Read { name, cause });
    }
    if bytes.len() > FILES_MOST {
        return Err(FilesError::Large { name });
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(PolicyFile { name, text }),
        Err(why) => Err(FilesError::NoText { name, at: why.utf8_error().valid_up_to() }),
    }
}

#[cfg(test)]
mod tests;
