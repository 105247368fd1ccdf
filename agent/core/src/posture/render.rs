//! A report in the forms that people and machines read. Pure: values in, text out.

mod json;
mod junit;
mod list;
mod sarif;
mod text;

#[cfg(test)]
mod schema;
#[cfg(test)]
mod tests;

pub use json::{SCHEMA, json};
pub use junit::junit;
pub use list::list;
pub use sarif::sarif;
pub use text::{changes, text};
