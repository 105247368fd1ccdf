//! The names of types, further in a policy (`policydb_read` and its `*_read` functions): what stands before them is stepped over.

use std::collections::BTreeMap;

use super::{PolicyFault, Reader};

/// With `POLICYDB_VERSION_BOUNDARY` roles and types have one word more.
const VERSION_BOUNDARY: u32 = 24;
/// Defaults of new objects: three words, one more from 28 on.
const VERSION_OBJECT_DEFAULTS: u32 = 27;
const VERSION_DEFAULT_TYPE: u32 = 28;
/// Constraints name their types a second time.
const VERSION_CONSTRAINT_NAMES: u32 = 29;
/// A second permissive-like map of domains (`neveraudit`).
const VERSION_NEVERAUDIT: u32 = 35;
/// `CEXPR_NAMES`.
const NAMES: u32 = 5;
/// No name of a policy is longer.
const LONGEST_NAME: u32 = 256;

/// The names of the types with these values, as far as the policy has them. `bytes` is the whole policy, some megabytes; all of it that comes
/// before the types is gone through once.
///
/// # Errors
/// [`PolicyFault`].
pub fn type_names(bytes: &[u8], wanted: &[u32]) -> Result<BTreeMap<u32, String>, PolicyFault> {
    let mut reader = Reader { bytes, at: 0 };
    let version = reader.head()?.version;
    if version >= VERSION_NEVERAUDIT {
        reader.bitmap("never audited domains")?;
    }
    reader.symbols(|reader, _| reader.common())?;
    reader.symbols(|reader, _| reader.class(version))?;
    reader.symbols(|reader, _| reader.role(version))?;
    let mut names = BTreeMap::new();
    reader.symbols(|reader, _| {
        let (length, value) = (reader.word()?, reader.word()?);
        reader.skip_words(if version >= VERSION_BOUNDARY { 2 } else { 1 })?;
        let name = reader.name(length)?;
        if wanted.contains(&value) {
            names.insert(value, String::from_utf8_lossy(name).into_owned());
        }
        Ok(())
    })?;
    Ok(names)
}

impl<'b> Reader<'b> {
    /// A table: how many values, how many entries, then the entries. Each entry takes bytes, so a count without end ends with them.
    fn symbols(&mut self, mut entry: impl FnMut(&mut Self, u32) -> Result<(), PolicyFault>) -> Result<(), PolicyFault> {
        let (_values, entries) = (self.word()?, self.word()?);
        (0..entries).try_for_each(|index| entry(self, index))
    }

    fn name(&mut self, length: u32) -> Result<&'b [u8], PolicyFault> {
        if length == 0 || length > LONGEST_NAME {
            return Err(PolicyFault::NoName);
        }
        self.take(length as usize)
    }

    fn skip_words(&mut self, words: usize) -> Result<(), PolicyFault> {
        self.take(words * 4).map(|_| ())
    }

    fn permissions(&mut self, count: u32) -> Result<(), PolicyFault> {
        (0..count).try_for_each(|_| {
            let length = self.word()?;
            self.skip_words(1)?;
            self.name(length).map(|_| ())
        })
    }

    fn common(&mut self) -> Result<(), PolicyFault> {
        let length = self.word()?;
        self.skip_words(2)?;
        let permissions = self.word()?;
        self.name(length)?;
        self.permissions(permissions)
    }

    fn class(&mut self, version: u32) -> Result<(), PolicyFault> {
        let (length, common) = (self.word()?, self.word()?);
        self.skip_words(2)?;
        let (permissions, constraints) = (self.word()?, self.word()?);
        self.name(length)?;
        if common > 0 {
            self.name(common)?;
        }
        self.permissions(permissions)?;
        self.constraints(version, constraints)?;
        let transitions = self.word()?;
        self.constraints(version, transitions)?;
        let defaults =
            usize::from(version >= VERSION_OBJECT_DEFAULTS) * 3 + usize::from(version >= VERSION_DEFAULT_TYPE);
        self.skip_words(defaults)
    }

    fn constraints(&mut self, version: u32, count: u32) -> Result<(), PolicyFault> {
        for _ in 0..count {
            let (_permissions, expressions) = (self.word()?, self.word()?);
            for _ in 0..expressions {
                let kind = self.word()?;
                self.skip_words(2)?;
                if kind == NAMES {
                    self.bitmap("constraints")?;
                    if version >= VERSION_CONSTRAINT_NAMES {
                        self.bitmap("constraints")?;
                        self.bitmap("constraints")?;
                        self.skip_words(1)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn role(&mut self, version: u32) -> Result<(), PolicyFault> {
        let length = self.word()?;
        self.skip_words(if version >= VERSION_BOUNDARY { 2 } else { 1 })?;
        self.name(length)?;
        self.bitmap("roles")?;
        self.bitmap("roles")?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn words(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    fn text(text: &str) -> Vec<u8> {
        text.as_bytes().to_vec()
    }

    /// A policy with one of each thing that stands before the types, and three types.
    fn policy(version: u32) -> Vec<u8> {
        let empty = || words(&[64, 0, 0]);
        let mut out =
            [words(&[0xf97c_ff8c, 8]), text("SE Linux"), words(&[version, 1, 8, 9]), empty(), empty()].concat();
        if version >= 35 {
            out.extend(empty());
        }
        out.extend([words(&[1, 1, 4, 1, 1, 1]), text("file"), words(&[4, 1]), text("read")].concat());
        let constraint = |names: bool| {
            let mut out = [words(&[0xff, if names { 2 } else { 1 }, 4, 0, 0])].concat();
            if names {
                out.extend([words(&[5, 0, 0]), words(&[64, 64, 1, 0, 7, 0])].concat());
                if version >= 29 {
                    out.extend([empty(), empty(), words(&[0])].concat());
                }
            }
            out
        };
        out.extend(
            [words(&[1, 1, 3, 4, 1, 1, 1, 2]), text("dir"), text("file"), words(&[6, 1]), text("rename")].concat(),
        );
        out.extend([constraint(false), constraint(true), words(&[1]), constraint(false)].concat());
        out.extend(words(&[0, 0, 0, 0][..usize::from(version >= 27) * 3 + usize::from(version >= 28)]));
        let bounds = |version: u32| if version >= 24 { vec![0] } else { vec![] };
        out.extend([words(&[1, 1, 8, 1]), words(&bounds(version)), text("system_r"), empty(), empty()].concat());
        out.extend(words(&[3, 3]));
        for (name, value) in [("init_t", 1), ("sshd_t", 2), ("afterburn_t", 65)] {
            let length = u32::try_from(name.len()).expect("short");
            out.extend([words(&[length, value, 1]), words(&bounds(version)), text(name)].concat());
        }
        out.extend(text("users and all the rest"));
        out
    }

    #[test]
    fn types_are_found_behind_all_that_stands_before() {
        for version in [23, 24, 27, 28, 29, 33, 35] {
            let names = type_names(&policy(version), &[65, 2, 99]).expect("a policy");
            let names: Vec<(u32, &str)> = names.iter().map(|(value, name)| (*value, name.as_str())).collect();
            assert_eq!(names, [(2, "sshd_t"), (65, "afterburn_t")], "version {version}");
        }
    }

    #[test]
    fn a_policy_that_ends_too_soon_is_a_fault() {
        let whole = policy(33);
        let end = whole.len() - "users and all the rest".len();
        for length in 0..end {
            assert!(type_names(&whole[..length], &[1]).is_err(), "{length}");
        }
        assert!(type_names(&whole[..end], &[1]).is_ok());
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken(at in 0_usize..250, with in proptest::collection::vec(any::<u8>(), 1..12), version in 20_u32..40) {
            let mut bytes = policy(version);
            for (offset, byte) in with.into_iter().enumerate() {
                if let Some(place) = bytes.get_mut(at + offset) {
                    *place = byte;
                }
            }
            let _ = type_names(&bytes, &[1, 2]);
        }
    }
}
