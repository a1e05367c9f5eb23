// Whiteouts, opaque directories and names listed twice: decisions 3, 4 and 5.
#include "image/testing/image_cases.hpp"
#include "image/testing/tar_writer.hpp"

namespace hearth::image::testing {

namespace {

std::string below() {
  return TarWriter()
      .directory("d/")
      .file("d/a", "a")
      .file("d/b", "b")
      .directory("d/s/")
      .file("d/s/x", "x")
      .file("top", "t")
      .finish();
}

Expect below_tree() {
  return Expect().directory("d").file("d/a", "a").file("d/b", "b").directory("d/s").file("d/s/x", "x").file("top", "t");
}

std::vector<ImageCase> whiteouts() {
  return {
      {.name = "whiteout_of_a_file",
       .layers = {below(), TarWriter().file("d/.wh.a", "").finish()},
       .expected = Expect().directory("d").file("d/b", "b").directory("d/s").file("d/s/x", "x").file("top", "t").tree(),
       .judge = Judge::umoci},
      {.name = "whiteout_of_a_directory",
       .layers = {below(), TarWriter().file(".wh.d", "").finish()},
       .expected = Expect().file("top", "t").tree(),
       .judge = Judge::umoci},
      {.name = "whiteout_of_nothing",
       .layers = {below(), TarWriter().file(".wh.none", "").file("nowhere/.wh.x", "").finish()},
       .expected = below_tree().tree()},
      {.name = "whiteout_after_the_new_file_in_the_tar",
       .layers = {below(), TarWriter().file("top", "new").file(".wh.top", "").finish()},
       .expected = below_tree().file("top", "new").tree(),
       .judge = Judge::umoci},
      {.name = "whiteout_before_the_new_file_in_the_tar",
       .layers = {below(), TarWriter().file(".wh.top", "").file("top", "new").finish()},
       .expected = below_tree().file("top", "new").tree(),
       .judge = Judge::umoci},
      {.name = "whiteout_beside_a_directory_empties_it",
       .layers = {below(), TarWriter().directory("d/", 0700).file(".wh.d", "").finish()},
       .expected = Expect().directory("d", 0700).file("top", "t").tree()},
      {.name = "whiteout_inside_a_new_directory",
       .layers = {below(), TarWriter().directory("n/").file("n/.wh.x", "").file("n/y", "y").finish()},
       .expected = below_tree().directory("n").file("n/y", "y").tree(),
       .judge = Judge::umoci},
      {.name = "whiteout_of_one_name_of_a_hard_link",
       .layers = {TarWriter().file("a", "1").hard_link("b", "a").hard_link("c", "a").finish(),
                  TarWriter().file(".wh.a", "").finish()},
       .expected = Expect().file("b", "1").same("c", "b").tree(),
       .judge = Judge::umoci},
      {.name = "whiteout_that_is_no_regular_file",
       .layers =
           {below(),
            TarWriter().directory(".wh.d/").add({.name = ".wh.top", .type = '3', .major = 1, .minor = 3}).finish()},
       .expected = Expect().tree()},
      {.name = "whiteouts_of_aufs_are_never_seen",
       .layers = {below(), TarWriter()
                               .directory(".wh..wh.plnk/")
                               .file(".wh..wh.plnk/12.34", "linked")
                               .hard_link("e", ".wh..wh.plnk/12.34")
                               .file(".wh..wh.aufs", "")
                               .directory(".wh..wh.orph/")
                               .finish()},
       .expected = below_tree().file("e", "linked").tree()},
      {.name = "whiteout_through_a_lower_symlink",
       .layers = {TarWriter()
                      .directory("usr/")
                      .directory("usr/lib/")
                      .file("usr/lib/x", "x")
                      .symlink("lib", "usr/lib")
                      .finish(),
                  TarWriter().file("lib/.wh.x", "").finish()},
       .expected = Expect().directory("usr").directory("usr/lib").symlink("lib", "usr/lib").tree(),
       .judge = Judge::umoci},
      {.name = "whiteout_of_a_whiteout_of_two_layers_ago",
       .layers = {below(), TarWriter().file(".wh.top", "").finish(), TarWriter().file("top", "back", 0600).finish()},
       .expected = below_tree().file("top", "back", 0600).tree(),
       .judge = Judge::umoci},
  };
}

std::vector<ImageCase> opaque() {
  const Expect emptied = Expect().directory("d").file("d/new", "n").file("top", "t");
  return {
      {.name = "opaque_first",
       .layers = {below(), TarWriter().directory("d/").file("d/.wh..wh..opq", "").file("d/new", "n").finish()},
       .expected = emptied.tree(),
       .judge = Judge::umoci},
      {.name = "opaque_last",
       .layers = {below(), TarWriter().directory("d/").file("d/new", "n").file("d/.wh..wh..opq", "").finish()},
       .expected = emptied.tree(),
       .judge = Judge::umoci},
      {.name = "opaque_after_a_child_of_the_same_name",
       .layers =
           {below(),
            TarWriter().directory("d/").file("d/a", "new a").directory("d/s/").file("d/.wh..wh..opq", "").finish()},
       .expected = Expect().directory("d").file("d/a", "new a").directory("d/s").file("top", "t").tree()},
      {.name = "opaque_without_the_directory_keeps_its_attributes",
       .layers = {TarWriter().directory("d/", 0701).file("d/a", "a").finish(),
                  TarWriter().file("d/.wh..wh..opq", "").finish()},
       .expected = Expect().directory("d", 0701).tree(),
       .judge = Judge::umoci},
      {.name = "opaque_at_the_root",
       .layers = {below(), TarWriter().file("new", "n").file(".wh..wh..opq", "").finish()},
       .expected = Expect().file("new", "n").tree()},
      {.name = "opaque_at_the_root_with_dot_slash",
       .layers = {below(), TarWriter().directory("./", 0711).file("./.wh..wh..opq", "").file("./new", "n").finish()},
       .expected = Expect().directory("", 0711).file("new", "n").tree()},
      {.name = "opaque_in_a_new_directory",
       .layers = {below(), TarWriter().directory("n/").file("n/.wh..wh..opq", "").file("n/y", "y").finish()},
       .expected = below_tree().directory("n").file("n/y", "y").tree(),
       .judge = Judge::umoci},
  };
}

std::vector<ImageCase> twice() {
  return {
      {.name = "same_file_twice_the_last_wins",
       .layers = {TarWriter().file("f", "first", 0600).file("f", "second", 0644).finish()},
       .expected = Expect().file("f", "second").tree(),
       .judge = Judge::umoci},
      {.name = "same_file_twice_does_not_write_through_a_hard_link",
       .layers = {TarWriter().file("a", "first").hard_link("b", "a").file("a", "second").finish()},
       .expected = Expect().file("a", "second").file("b", "first").tree()},
      {.name = "same_name_twice_does_not_write_through_a_symlink",
       .layers = {TarWriter().file("target", "t").symlink("f", "target").file("f", "own").finish()},
       .expected = Expect().file("target", "t").file("f", "own").tree(),
       .judge = Judge::umoci},
      {.name = "same_name_in_other_spellings",
       .layers = {TarWriter().file("f", "1").file("./f", "2").file("/f", "3").file(".//./f", "4").finish()},
       .expected = Expect().file("f", "4").tree(),
       .judge = Judge::umoci},
      {.name = "symlink_then_directory_of_the_same_name",
       .layers = {TarWriter().directory("real/").symlink("d", "real").directory("d/").file("d/x", "x").finish()},
       .expected = Expect().directory("real").directory("d").file("d/x", "x").tree()},
      {.name = "directory_twice_keeps_its_children",
       .layers = {TarWriter().directory("d/", 0700).file("d/x", "x").directory("d/", 0755).finish()},
       .expected = Expect().directory("d").file("d/x", "x").tree(),
       .judge = Judge::umoci},
  };
}

std::vector<ImageCase> type_changes() {
  return {
      {.name = "directory_becomes_a_file",
       .layers = {below(), TarWriter().file("d", "now a file").finish()},
       .expected = Expect().file("d", "now a file").file("top", "t").tree(),
       .judge = Judge::umoci},
      {.name = "file_becomes_a_directory",
       .layers = {below(), TarWriter().directory("top/").file("top/x", "x").finish()},
       .expected = below_tree().directory("top").file("top/x", "x").tree(),
       .judge = Judge::umoci},
      {.name = "directory_becomes_a_file_and_a_directory_again",
       .layers = {below(), TarWriter().file("d", "file").finish(),
                  TarWriter().directory("d/").file("d/z", "z").finish()},
       .expected = Expect().directory("d").file("d/z", "z").file("top", "t").tree(),
       .judge = Judge::umoci},
      {.name = "directory_becomes_a_symlink",
       .layers = {below(), TarWriter().symlink("d", "top").finish()},
       .expected = Expect().symlink("d", "top").file("top", "t").tree(),
       .judge = Judge::umoci},
      {.name = "symlink_becomes_the_directory_that_is_listed",
       .layers = {TarWriter().directory("real/").file("real/x", "x").symlink("d", "real").finish(),
                  TarWriter().directory("d/").file("d/y", "y").finish()},
       .expected = Expect().directory("real").file("real/x", "x").directory("d").file("d/y", "y").tree(),
       .judge = Judge::umoci},
      {.name = "symlink_becomes_the_directory_that_is_listed_after_its_child",
       .layers = {TarWriter().directory("real/").file("real/x", "x").symlink("d", "real").finish(),
                  TarWriter().file("d/y", "y").directory("d/", 0711).finish()},
       .expected = Expect().directory("real").file("real/x", "x").directory("d", 0711).file("d/y", "y").tree()},
      {.name = "listed_directory_merges_with_the_lower_one",
       .layers = {below(), TarWriter().directory("d/", 0500).file("d/c", "c").finish()},
       .expected = below_tree().directory("d", 0500).file("d/c", "c").tree(),
       .judge = Judge::umoci},
      {.name = "null_device_never_shows_the_lower_file",
       .layers = {below(), TarWriter().add({.name = "top", .type = '3', .mode = 0}).finish()},
       .expected = below_tree().put("top", {.type = oci::FileType::character_device, .mode = 0}).tree()},
  };
}

}  // namespace

std::vector<ImageCase> whiteout_cases() {
  std::vector<ImageCase> cases;
  for (auto& part : {whiteouts(), opaque(), twice(), type_changes()})
    cases.insert(cases.end(), part.begin(), part.end());
  return cases;
}

}  // namespace hearth::image::testing
