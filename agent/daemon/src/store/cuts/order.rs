//! What must be so at every instant, and what at the good end.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::super::disk::Disk;
use super::super::files::is_temporary;
use super::super::{AUTHORITY, CURRENT, Found, LARGEST, REQUEST, Store};
use super::scene::{BAD, BEFORE, CA, KUBECONFIG, KUBECONFIG_BEFORE, PEMS, POOL, Scene, request};
use super::{Beyond, KEEP, known};

/// Files put aside that are kept.
const ASIDE: usize = 2;

/// Is the store in order at this instant? Says what is not.
pub fn disorder(store: &Store<impl Disk>, beyond: &Beyond, scene: &Scene) -> Option<String> {
    let began = scene.in_force();
    let is_usable = |text: &str| known(text).is_some_and(|number| number == BEFORE || beyond.signed.contains(&number));
    let current = store.read_current();
    match &current {
        Found::Missing if began.is_none() && !beyond.has_placeholder => {}
        Found::Text { text, .. } => match text.expose() {
            "" if !scene.has_usable() || beyond.was_passed_over => {}
            BAD if began.as_deref() == Some(BAD) && !beyond.has_put_aside => {}
            text if is_usable(text) => {}
            text => return Some(format!("in force is {text:?}")),
        },
        found => return Some(format!("in force is {found:?}")),
    }
    for (name, content) in everything(store) {
        let as_it_was = (scene.files)().contains(&(name.clone(), content.clone()));
        let whole = match name.as_str() {
            // Seen above, and behind a link.
            CURRENT => true,
            // Nobody reads them, and they are swept away.
            name if is_temporary(name) => true,
            REQUEST => (0..beyond.keys).any(|number| content == open_request(number)),
            AUTHORITY => content == CA,
            name if name.ends_with(".quarantined") => content == BAD,
            name if name.starts_with("kubelet-client-") => is_usable(&content),
            _ => false,
        };
        if !whole && !as_it_was {
            return Some(format!("{name} holds {content:?}"));
        }
    }
    let kubeconfig = text(store, &store.kubeconfig);
    if kubeconfig != KUBECONFIG && kubeconfig != KUBECONFIG_BEFORE {
        return Some(format!("the kubeconfig holds {kubeconfig:?}"));
    }
    let kept = store.read_request().ok().flatten().map(|open| open.key);
    let lost = beyond.open.iter().find(|number| {
        kept.as_ref() != Some(&POOL[**number].key)
            && !matches!(&current, Found::Text { text, .. } if text.expose() == PEMS[**number])
    });
    lost.map(|number| format!("the key of the open request {number} is lost"))
}

/// Has a line that ended well come to the good end? Says what is not as it must be.
pub fn shortcoming(store: &Store<impl Disk>, beyond: &Beyond, scene: &Scene) -> Option<String> {
    let Found::Text { text: current, .. } = store.read_current() else { return Some("nothing in force".to_owned()) };
    let wanted: Vec<usize> = if scene.asks { beyond.signed.iter().copied().collect() } else { vec![BEFORE] };
    if wanted.len() != 1 || known(current.expose()) != Some(wanted[0]) {
        return Some(format!("{wanted:?} should be in force, and {:?} is", known(current.expose())));
    }
    let files = everything(store);
    let count = |wanted: &dyn Fn(&str) -> bool| files.keys().filter(|name| wanted(name)).count();
    let is_dated = |name: &str| name.starts_with("kubelet-client-2") && name.ends_with(".pem");
    for (what, found, most) in [
        ("dated files", count(&is_dated), usize::try_from(KEEP).unwrap()),
        ("files put aside", count(&|name| name.ends_with(".quarantined")), ASIDE),
        ("temp files", count(&is_temporary), 0),
        ("requests", count(&|name| name == REQUEST), 0),
        ("temp files of the kubeconfig", usize::from(!text(store, &temporary_kubeconfig(store)).is_empty()), 0),
    ] {
        if found > most {
            return Some(format!("{found} {what}: {:?}", files.keys()));
        }
    }
    if files.get(AUTHORITY).map(String::as_str) != Some(CA) || text(store, &store.kubeconfig) != KUBECONFIG {
        return Some("the CA or the kubeconfig is not the new one".to_owned());
    }
    None
}

fn temporary_kubeconfig(store: &Store<impl Disk>) -> PathBuf {
    store.kubeconfig.with_file_name(".kubeconfig.new")
}

fn open_request(number: usize) -> String {
    format!("{}{}", POOL[number].key.expose(), request(number))
}

fn text(store: &Store<impl Disk>, path: &Path) -> String {
    store.files().read(path, LARGEST).map(|content| content.text.expose().to_owned()).unwrap_or_default()
}

/// What is in the certificate directory.
fn everything(store: &Store<impl Disk>) -> BTreeMap<String, String> {
    let names = store.disk.list(&store.directory).unwrap_or_default();
    names.iter().map(|name| (name.to_string_lossy().into_owned(), text(store, &store.directory.join(name)))).collect()
}
