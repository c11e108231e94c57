//! The one integration binary of `shared`: the laws of the house, checked on the whole workspace.

mod documents;
mod floors;
mod source;
mod tidy;
