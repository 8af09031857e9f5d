//! Records as lines of JSON, in a file that remembers its position and in a stream that doesn't.

mod crash;
mod feed;
mod file;
mod full_disk;
mod stream;
