//! What lies on a node's disk when a line begins, and what the API server gives out.

use std::path::Path;
use std::sync::LazyLock;

use super::super::disk::Disk;
use super::super::files::is_temporary;
use super::super::tests::{Issued, issued};
use super::super::{AUTHORITY, CURRENT, REQUEST};

pub const CA: &str = "-----BEGIN CERTIFICATE-----\nthe CA\n-----END CERTIFICATE-----\n";
pub const CA_BEFORE: &str = "-----BEGIN CERTIFICATE-----\nthe CA before\n-----END CERTIFICATE-----\n";
pub const KUBECONFIG: &str = "apiVersion: v1\nserver: new\n";
pub const KUBECONFIG_BEFORE: &str = "apiVersion: v1\nserver: old\n";
/// What was in force and is none: cut short, as a disk or a person leaves it.
pub const BAD: &str = "-----BEGIN CERTIFICATE-----\ncut short";

/// Certificates that a signer gives out in a run, and one (the last) that was there before.
pub static POOL: LazyLock<Vec<Issued>> = LazyLock::new(|| (0..=BEFORE).map(|_| issued()).collect());

/// The PEM in force that each of them becomes.
pub static PEMS: LazyLock<Vec<String>> =
    LazyLock::new(|| POOL.iter().map(|Issued { chain, key, .. }| format!("{chain}{}", key.expose())).collect());

pub const BEFORE: usize = 4;

pub fn before() -> String {
    PEMS[BEFORE].clone()
}

pub fn request(number: usize) -> String {
    format!("-----BEGIN CERTIFICATE REQUEST-----\nof key {number}\n-----END CERTIFICATE REQUEST-----\n")
}

/// A node about to do something: what lies on its disk.
#[derive(Clone, Copy)]
pub struct Scene {
    pub name: &'static str,
    /// Name in the certificate directory, content.
    pub files: fn() -> Vec<(String, String)>,
    /// What the link points to; `None`: there is no link.
    pub link: Option<&'static str>,
    /// Is there a certificate directory?
    pub directory: bool,
    /// Is a certificate to be asked for? Otherwise all that is done is to tidy.
    pub asks: bool,
}

const OLDER: &str = "kubelet-client-2026-01-01-00-00-00.pem";
const DATED: &str = "kubelet-client-2026-01-02-00-00-00.pem";

fn file(name: &str, content: impl Into<String>) -> (String, String) {
    (name.to_owned(), content.into())
}

pub const SCENES: [Scene; 12] = [
    Scene { name: "bootstrap, no directory", files: Vec::new, link: None, directory: false, asks: true },
    Scene {
        name: "bootstrap over the placeholder",
        files: || vec![file(CURRENT, "")],
        link: None,
        directory: true,
        asks: true,
    },
    Scene {
        name: "bootstrap over a link to nothing",
        files: Vec::new,
        link: Some("kubelet-client-2025-12-31-00-00-00.pem"),
        directory: true,
        asks: true,
    },
    Scene {
        name: "renewal, a new CA, older files",
        files: || {
            let old = |day: u32| file(&format!("kubelet-client-2025-12-{day}-00-00-00.pem"), before());
            vec![old(28), old(29), old(30), file(DATED, before()), file(AUTHORITY, CA_BEFORE)]
        },
        link: Some(DATED),
        directory: true,
        asks: true,
    },
    Scene {
        name: "renewal, a regular file in force",
        files: || vec![file(CURRENT, before())],
        link: None,
        directory: true,
        asks: true,
    },
    Scene {
        name: "renewal, half a request and temp files with keys",
        files: || {
            let half = request(0);
            vec![
                file(DATED, before()),
                file(REQUEST, &half[..half.len() / 2]),
                file(&format!(".{OLDER}.new"), before()),
                file(&format!(".{REQUEST}.new"), POOL[0].key.expose()),
                file(&format!(".{CURRENT}.new"), ""),
            ]
        },
        link: Some(DATED),
        directory: true,
        asks: true,
    },
    Scene {
        name: "quarantine, linked, an older one is usable",
        files: || vec![file(OLDER, before()), file(DATED, BAD)],
        link: Some(DATED),
        directory: true,
        asks: true,
    },
    Scene {
        name: "quarantine, linked, nothing older",
        files: || vec![file(DATED, BAD)],
        link: Some(DATED),
        directory: true,
        asks: true,
    },
    Scene {
        name: "quarantine, a regular file, an older one is usable",
        files: || vec![file(OLDER, before()), file(CURRENT, BAD)],
        link: None,
        directory: true,
        asks: true,
    },
    Scene {
        name: "quarantine, a regular file, nothing older",
        files: || vec![file(CURRENT, BAD)],
        link: None,
        directory: true,
        asks: true,
    },
    Scene {
        name: "quarantine after quarantines, an older one is bad too",
        files: || {
            let aside = |second: u32| file(&format!("{OLDER}.{second}.quarantined"), BAD);
            vec![aside(1), aside(2), aside(3), file(OLDER, BAD), file(DATED, BAD)]
        },
        link: Some(DATED),
        directory: true,
        asks: true,
    },
    Scene {
        name: "pruning, the oldest is in force",
        files: || {
            let newer = |day: u32| file(&format!("kubelet-client-2026-02-0{day}-00-00-00.pem"), before());
            vec![file(DATED, before()), newer(1), newer(2), newer(3), newer(4)]
        },
        link: Some(DATED),
        directory: true,
        asks: false,
    },
];

impl Scene {
    /// What the link leads to, or what stands in its place.
    pub fn in_force(&self) -> Option<String> {
        let name = self.link.unwrap_or(CURRENT);
        (self.files)().into_iter().find(|(found, _)| found == name).map(|(_, content)| content)
    }

    pub fn has_usable(&self) -> bool {
        (self.files)().iter().any(|(name, content)| !is_temporary(name) && *content == before())
    }

    /// Puts the scene on a disk.
    pub fn lay(&self, disk: &impl Disk, root: &Path) {
        let put = |path: &Path, content: &str| {
            let mut file = disk.create(path, 0o600).unwrap();
            if !content.is_empty() {
                assert_eq!(disk.write(&mut file, content.as_bytes()).unwrap(), content.len());
            }
        };
        let pki = root.join("pki");
        put(&root.join("kubeconfig"), KUBECONFIG_BEFORE);
        if self.directory {
            disk.mkdir(&pki, 0o755).unwrap();
        }
        for (name, content) in (self.files)() {
            put(&pki.join(name), &content);
        }
        if let Some(target) = self.link {
            disk.symlink(&pki.join(target), &pki.join(CURRENT)).unwrap();
        }
    }
}
