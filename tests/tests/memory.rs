//! A private key and the bootstrap token are where they belong and nowhere else: in the memory of an agent at rest there is none
//! (every page that it can write is read from outside and searched), and on the disk each is in its one file.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use eyewall_core::status::Status;
use tests::apiserver::{ApiServer, ApprovalMode, Options, Token};
use tests::node::Node;
use tests::serving;

const SOON: Duration = Duration::from_secs(10);
/// From the last byte of a connection to rest: the tasks of a connection end in the turns of the loop that follow.
const SETTLED: Duration = Duration::from_millis(500);
const TOKEN: &str = "plantd.5ecre75ecre75ecr";
/// Read in one go.
const CHUNK: usize = 1 << 20;

/// Something to look for, and what it is called.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Needle {
    name: String,
    bytes: Vec<u8>,
}

fn needle(name: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Needle {
    Needle { name: name.into(), bytes: bytes.into() }
}

/// Each form in which a private key of P-256 may lie about: the lines of its PEM, its scalar as it stands in the DER, in base64 and
/// in hex, with its bytes the other way round (as limbs of a little-endian machine), and so in Montgomery form, as ring holds it to
/// sign.
fn key_needles(name: &str, pem: &str) -> Result<Vec<Needle>> {
    let lines: Vec<&str> = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    let mut needles: Vec<Needle> = lines
        .iter()
        .enumerate()
        .map(|(index, line)| needle(format!("{name}: line {index} of its PEM"), *line))
        .collect();
    let der = STANDARD.decode(lines.concat())?;
    // RFC 5915 in RFC 5958: the first OCTET STRING of 32 bytes is the scalar.
    let at = der.windows(2).position(|pair| pair == [0x04, 0x20]).context("a scalar of 32 bytes")? + 2;
    let scalar: [u8; 32] = der.get(at..at + 32).context("the whole of it")?.try_into()?;
    let mut reversed = scalar;
    reversed.reverse();
    needles.push(needle(format!("{name}: scalar"), scalar));
    needles.push(needle(format!("{name}: scalar, reversed"), reversed));
    needles.push(needle(format!("{name}: scalar, as ring holds it"), montgomery(scalar)));
    needles.push(needle(format!("{name}: scalar, in hex"), eyewall_core::cert::hex(&scalar)));
    for before in 0..3 {
        // What of the text depends on the scalar alone, with so many bytes before it and whatever behind it.
        let text = STANDARD.encode([&vec![0; before], scalar.as_slice()].concat());
        let middle = text.get(4..40).context("44 characters at least")?;
        needles.push(needle(format!("{name}: scalar, in base64 behind {before}"), middle));
    }
    Ok(needles)
}

/// The order of P-256 (SEC 2), big-endian.
const ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa,
    0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

/// `scalar * 2^256 mod ORDER`, little-endian: 256 doublings.
fn montgomery(scalar: [u8; 32]) -> [u8; 32] {
    let mut number = scalar;
    for _ in 0..256 {
        let mut carry = 0;
        for byte in number.iter_mut().rev() {
            let doubled = u16::from(*byte) << 1 | carry;
            (*byte, carry) = ((doubled & 0xff) as u8, doubled >> 8);
        }
        if carry == 1 || number >= ORDER {
            let mut borrow = 0;
            for (byte, order) in number.iter_mut().zip(ORDER).rev() {
                let taken = i16::from(*byte) - i16::from(order) - borrow;
                (*byte, borrow) = (taken.rem_euclid(256) as u8, i16::from(taken < 0));
            }
        }
    }
    number.reverse();
    number
}

/// Which of `needles` begin somewhere in `bytes`. One pass, and none over pages of zeros, which most of a memory is.
fn held<'n>(bytes: &[u8], needles: &'n [Needle]) -> BTreeSet<&'n str> {
    const PAGE: usize = 4096;
    let mut begins = vec![false; 1 << 16];
    let head = |bytes: &[u8]| usize::from(bytes[0]) << 8 | usize::from(bytes[1]);
    needles.iter().for_each(|needle| begins[head(&needle.bytes)] = true);
    let mut held = BTreeSet::new();
    for (page, content) in bytes.chunks(PAGE).enumerate() {
        if content == &[0; PAGE][..content.len()] {
            continue;
        }
        for at in page * PAGE..(page + 1) * PAGE {
            let Some(rest) = bytes.get(at..).filter(|rest| rest.len() > 1 && begins[head(rest)]) else { continue };
            held.extend(
                needles.iter().filter(|needle| rest.starts_with(&needle.bytes)).map(|needle| needle.name.as_str()),
            );
        }
    }
    held
}

/// Which of `needles` lie in the memory of the process, and in which part of it.
fn found(pid: u32, needles: &[Needle]) -> Result<BTreeSet<String>> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps"))?;
    let memory = std::fs::File::open(format!("/proc/{pid}/mem"))?;
    let longest = needles.iter().map(|needle| needle.bytes.len()).max().unwrap_or(0);
    let mut found = BTreeSet::new();
    let mut searched = 0;
    for line in maps.lines() {
        let mut words = line.split_whitespace();
        let (Some(range), Some(mode)) = (words.next(), words.next()) else { continue };
        let name = words.nth(3).unwrap_or("unnamed");
        let (from, to) = range.split_once('-').context("a range")?;
        let (from, to) = (u64::from_str_radix(from, 16)?, u64::from_str_radix(to, 16)?);
        if !mode.starts_with("rw") {
            continue;
        }
        let mut at = from;
        while at < to {
            let size = usize::try_from(to - at)?.min(CHUNK + longest);
            let mut bytes = vec![0; size];
            memory.read_exact_at(&mut bytes, at).with_context(|| format!("{line} cannot be read"))?;
            searched += size.min(CHUNK);
            found.extend(held(&bytes, needles).into_iter().map(|what| format!("{what} in {name}")));
            at += CHUNK as u64;
        }
    }
    ensure!(searched > CHUNK, "only {searched} bytes were searched");
    Ok(found)
}

/// The private key's PEM of a file.
fn key_of(path: &Path) -> Result<String> {
    let text = std::fs::read_to_string(path)?;
    let (begin, end) = ("-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----");
    let from = text.find(begin).context("a key")?;
    let to = text.find(end).context("its end")? + end.len();
    Ok(text.get(from..to).context("in this order")?.to_owned())
}

fn token_needles(token: &str) -> Result<Vec<Needle>> {
    let (_, secret) = token.split_once('.').context("a token")?;
    Ok(vec![needle("the token's secret", secret), needle("the token", token)])
}

async fn cluster() -> Result<(ApiServer, Node)> {
    let api = ApiServer::start(Options { tokens: vec![Token::new(TOKEN)], ..Options::default() }).await?;
    let node = Node::new("node-a")?;
    node.give_kubeconfig(&api.bootstrap_kubeconfig())?;
    Ok((api, node))
}

fn is_at_rest(status: &Status) -> bool {
    let certificates = &status.certificates;
    certificates.state.as_str() == "valid" && certificates.recovery.is_some() && certificates.request.is_none()
}

/// Asks for a renewal and waits until a new certificate is in force and all is at rest.
async fn renew(node: &Node) -> Result<()> {
    let before = node.status().await?.certificates.current;
    let renew = node.command(&["certificates", "renew"])?.output().await?;
    ensure!(renew.status.success(), "{}", String::from_utf8_lossy(&renew.stderr));
    node.wait(SOON, |status| status.certificates.current != before && is_at_rest(status)).await?;
    Ok(())
}

/// Approves the open request.
async fn approve(api: &ApiServer, node: &Node) -> Result<()> {
    let request = node.status().await?.certificates.request.context("a request")?;
    ensure!(api.approve(&request.name), "{} is not there", request.name);
    Ok(())
}

#[tokio::test]
async fn at_rest_there_is_no_key_and_no_token() -> Result<()> {
    let (_api, mut node) = cluster().await?;
    node.start()?;
    let status = node.wait(SOON, is_at_rest).await?;
    let pid = node.pid().context("it runs")?;
    tokio::time::sleep(SETTLED).await;
    let mut needles = token_needles(TOKEN)?;
    needles.extend(key_needles("the first key", &key_of(&node.current())?)?);
    // The control: what is known to be there is found.
    let serial = status.certificates.current.as_ref().context("a certificate")?.serial.clone();
    let known = found(pid, &[needle("the serial", serial)])?;
    assert!(!known.is_empty(), "the search finds nothing");
    assert_eq!(found(pid, &needles)?, BTreeSet::new(), "after the bootstrap");
    renew(&node).await?;
    tokio::time::sleep(SETTLED).await;
    needles.extend(key_needles("the second key", &key_of(&node.current())?)?);
    assert_eq!(found(pid, &needles)?, BTreeSet::new(), "after the renewal");
    Ok(())
}

#[tokio::test]
async fn at_rest_there_is_no_key_of_a_serving_certificate() -> Result<()> {
    let api = ApiServer::start(Options::default()).await?;
    api.set_signing(|signing| signing.serving = ApprovalMode::Auto);
    let mut node = serving::node(&api)?;
    serving::give_addresses(&api, &[("InternalIP", "127.0.0.1"), ("Hostname", "node-a")])?;
    node.start()?;
    // A kubelet has been there once: only then are there addresses to ask for.
    serving::wait_for(&node, SOON, "valid", "certificate-valid").await?;
    node.wait(SOON, is_at_rest).await?;
    tokio::time::sleep(SETTLED).await;
    let mut needles = key_needles("the serving key", &key_of(&node.pki().join("kubelet-server-current.pem"))?)?;
    needles.extend(key_needles("the client key", &key_of(&node.current())?)?);
    assert_eq!(found(node.pid().context("it runs")?, &needles)?, BTreeSet::new());
    Ok(())
}

/// The control of the tests above, and what cannot be otherwise: while a connection is open, the key or the token that it was opened
/// with is in memory, in the form in which TLS or HTTP holds it; and while a request is waited for, so is its key.
#[tokio::test]
async fn while_they_are_in_use_they_are_found() -> Result<()> {
    let (api, mut node) = cluster().await?;
    api.set_approval(ApprovalMode::Manual);
    node.start()?;
    node.wait_for(SOON, "pending-approval", "request-sent").await?;
    let pid = node.pid().context("it runs")?;
    let request = node.pki().join("kubelet-client-request.pem");
    let mut needles = token_needles(TOKEN)?;
    needles.extend(key_needles("the first key", &key_of(&request)?)?);
    let there = found(pid, &needles)?;
    for wanted in ["the token in [heap]", "the first key: line 0 of its PEM in [heap]"] {
        assert!(there.contains(wanted), "{wanted}: {there:?}");
    }
    approve(&api, &node).await?;
    node.wait(SOON, is_at_rest).await?;
    // A renewal is asked for with the certificate in force, by TLS and no token.
    let renew = node.command(&["certificates", "renew"])?.output().await?;
    ensure!(renew.status.success(), "{}", String::from_utf8_lossy(&renew.stderr));
    node.wait(SOON, |status| status.certificates.request.is_some() && api.csrs().len() == 2).await?;
    tokio::time::sleep(SETTLED).await;
    needles.extend(key_needles("the second key", &key_of(&request)?)?);
    let there = found(pid, &needles)?;
    for wanted in ["the first key: scalar, as ring holds it in [heap]", "the second key: line 0 of its PEM in [heap]"] {
        assert!(there.contains(wanted), "{wanted}: {there:?}");
    }
    assert!(!there.iter().any(|found| found.starts_with("the token")), "it has no use any more: {there:?}");
    approve(&api, &node).await?;
    node.wait(SOON, is_at_rest).await?;
    tokio::time::sleep(SETTLED).await;
    assert_eq!(found(pid, &needles)?, BTreeSet::new(), "and when all is done, none");
    Ok(())
}

/// The files below a node's directory, links aside.
fn files(directory: &Path, into: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            files(&entry.path(), into)?;
        } else if kind.is_file() {
            into.push(entry.path());
        }
    }
    Ok(())
}

/// Which of the secrets each file of the node holds; files without one are left out.
fn on_disk(node: &Node, secrets: &BTreeMap<&str, Vec<Needle>>) -> Result<BTreeMap<String, BTreeSet<String>>> {
    let root = node.path("");
    let mut paths = Vec::new();
    files(&root, &mut paths)?;
    let mut on_disk = BTreeMap::new();
    for path in paths {
        let bytes = std::fs::read(&path)?;
        let mut found: BTreeSet<String> = secrets
            .iter()
            .filter(|(_, needles)| !held(&bytes, needles).is_empty())
            .map(|(name, _)| (*name).to_owned())
            .collect();
        if found.is_empty() && !held(&bytes, &[needle("any", "PRIVATE KEY")]).is_empty() {
            found.insert("a key that this test does not know".to_owned());
        }
        if !found.is_empty() {
            on_disk.insert(path.strip_prefix(&root)?.display().to_string(), found);
        }
    }
    Ok(on_disk)
}

#[tokio::test]
async fn on_the_disk_each_is_in_its_one_file() -> Result<()> {
    const REQUEST: &str = "pki/kubelet-client-request.pem";
    const KUBECONFIG: &str = "kubernetes/kubeconfig";
    let (api, mut node) = cluster().await?;
    node.environment("EYEWALL_LOG", "trace");
    node.start()?;
    node.wait(SOON, is_at_rest).await?;
    let mut secrets = BTreeMap::from([("token", token_needles(TOKEN)?)]);
    let mut want = BTreeMap::from([(KUBECONFIG.to_owned(), "token".to_owned())]);
    let is = |node: &Node, secrets: &BTreeMap<&str, Vec<Needle>>, want: &BTreeMap<String, String>, when: &str| {
        let want: BTreeMap<_, _> =
            want.iter().map(|(file, what)| (file.clone(), BTreeSet::from([what.clone()]))).collect();
        assert_eq!(on_disk(node, secrets)?, want, "{when}");
        Ok::<_, anyhow::Error>(())
    };
    // The file in force, as it is called below the node's directory.
    let file = |node: &Node| {
        let target = std::fs::read_link(node.current())?;
        Ok::<_, anyhow::Error>(format!("pki/{}", target.file_name().context("a name")?.display()))
    };
    let mut in_force = Vec::new();
    for name in ["key 1", "key 2", "key 3", "key 4", "key 5"] {
        if !in_force.is_empty() {
            // The files are called by the second of their installation.
            tokio::time::sleep(Duration::from_millis(1_100)).await;
            renew(&node).await?;
        }
        secrets.insert(name, key_needles(name, &key_of(&node.current())?)?);
        in_force.push(file(&node)?);
        want.insert(in_force[in_force.len() - 1].clone(), name.to_owned());
        if in_force.len() > 3 {
            want.remove(&in_force[in_force.len() - 4]);
        }
        is(&node, &secrets, &want, name)?;
    }
    // The file in force is damaged, with its key in it, and what a crash may leave lies about.
    node.kill().await?;
    let bad = std::fs::read_to_string(node.current())?;
    std::fs::write(
        node.current(),
        bad.replacen("-----BEGIN CERTIFICATE-----\nMII", "-----BEGIN CERTIFICATE-----\nXII", 1),
    )?;
    std::fs::write(node.pki().join(".kubelet-client-2026-01-01-00-00-00.pem.new"), &bad)?;
    std::fs::write(node.pki().join(".kubelet-client-request.pem.new"), &bad)?;
    node.start()?;
    node.wait(SOON, is_at_rest).await?;
    assert_eq!(file(&node)?, in_force[3], "the one before it took its place");
    let aside =
        on_disk(&node, &secrets)?.into_keys().find(|name| name.ends_with(".quarantined")).context("put aside")?;
    assert!(want.remove(&in_force[4]).is_some());
    want.insert(aside.clone(), "key 5".to_owned());
    is(&node, &secrets, &want, "after the quarantine")?;
    // A renewal that waits.
    api.set_approval(ApprovalMode::Manual);
    let waits = node.command(&["certificates", "renew"])?.output().await?;
    ensure!(waits.status.success(), "{}", String::from_utf8_lossy(&waits.stderr));
    node.wait(SOON, |status| status.certificates.request.is_some() && api.csrs().len() == 6).await?;
    secrets.insert("key 6", key_needles("key 6", &key_of(&node.path(REQUEST))?)?);
    want.insert(REQUEST.to_owned(), "key 6".to_owned());
    is(&node, &secrets, &want, "while a request is open")?;
    approve(&api, &node).await?;
    node.wait(SOON, is_at_rest).await?;
    want.remove(REQUEST);
    want.insert(file(&node)?, "key 6".to_owned());
    is(&node, &secrets, &want, "after the last renewal")?;
    println!("{want:#?}");
    Ok(())
}

#[test]
fn the_montgomery_form_of_one_is_what_is_left_of_the_order() {
    // 2^256 mod n = 2^256 - n, since n is more than half of it: 00000000ffffffff00000000000000004319055258e8617b0c46353d039cdaaf.
    let mut one = [0; 32];
    one[31] = 1;
    let hex = montgomery(one).iter().rev().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert_eq!(hex, "00000000ffffffff00000000000000004319055258e8617b0c46353d039cdaaf");
}
