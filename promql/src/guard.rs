//! What is checked and rewritten before the library's parser sees a text.
