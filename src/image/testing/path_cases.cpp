// Paths: implied parents, symlinks on the way, strange names. Decisions 1, 3 and 12.
#include "image/testing/image_cases.hpp"
#include "image/testing/tar_writer.hpp"

namespace hearth::image::testing {

namespace {

std::string usrmerge() {
  return TarWriter().directory("usr/").directory("usr/lib/").file("usr/lib/a", "a").symlink("lib", "usr/lib").finish();
}
Expect usrmerge_tree() {
  return Expect().directory("usr").directory("usr/lib").file("usr/lib/a", "a").symlink("lib", "usr/lib");
}

std::vector<ImageCase> parents() {
  return {
      {.name = "implied_parents",
       .layers = {TarWriter().file("x/y/z", "z").finish()},
       .expected = Expect().directory("x").directory("x/y").file("x/y/z", "z").tree(),
       .judge = Judge::umoci},
      {.name = "implied_parent_that_exists_keeps_everything",
       .layers = {TarWriter()
                      .add({.name = "d/", .type = '5', .mode = 01770, .uid = 5, .gid = 6, .mtime = 1234567890})
                      .finish(),
                  TarWriter().file("d/x", "x").finish()},
       .expected = Expect()
                       .directory("d", 01770)
                       .at("d",
                           [](NodeSpec& n) {
                             n.uid = 5;
                             n.gid = 6;
                             n.mtime = {1234567890, 0};
                           })
                       .file("d/x", "x")
                       .tree(),
       .judge = Judge::umoci},
      {.name = "implied_successor_of_a_removed_directory_is_new",
       .layers = {TarWriter()
                      .add({.name = "d/", .type = '5', .mode = 0700, .uid = 5, .mtime = 99})
                      .file("d/old", "o")
                      .finish(),
                  TarWriter().file("d/x", "x").file(".wh.d", "").finish()},
       .expected = Expect().directory("d").file("d/x", "x").tree()},
      {.name = "parent_listed_after_its_child",
       .layers = {TarWriter().file("d/x", "x").directory("d/", 0711).finish()},
       .expected = Expect().directory("d", 0711).file("d/x", "x").tree(),
       .judge = Judge::umoci},
      {.name = "implied_parent_takes_the_place_of_a_lower_file",
       .layers = {TarWriter().file("d", "file").finish(), TarWriter().file("d/x", "x").finish()},
       .expected = Expect().directory("d").file("d/x", "x").tree()},
      {.name = "root_not_listed",
       .layers = {TarWriter().file("f", "f").finish()},
       .expected = Expect().file("f", "f").tree(),
       .judge = Judge::umoci},
      {.name = "root_attributes_of_the_last_layer_that_lists_it",
       .layers = {TarWriter().add({.name = "./", .type = '5', .mode = 0700, .uid = 1, .mtime = 11}).finish(),
                  TarWriter().add({.name = "./", .type = '5', .mode = 0711, .gid = 2, .mtime = 22}).finish(),
                  TarWriter().file("f", "f").finish()},
       .expected = Expect()
                       .directory("", 0711)
                       .at("",
                           [](NodeSpec& n) {
                             n.gid = 2;
                             n.mtime = {22, 0};
                           })
                       .file("f", "f")
                       .tree()},
      {.name = "empty_layers",
       .layers = {TarWriter().finish(), TarWriter().file("f", "f").finish(), TarWriter().finish()},
       .expected = Expect().file("f", "f").tree(),
       .judge = Judge::umoci},
      {.name = "no_layers", .layers = {}, .expected = Expect().tree()},
  };
}

std::vector<ImageCase> symlinks_on_the_way() {
  return {
      {.name = "path_through_a_lower_symlink",
       .layers = {usrmerge(), TarWriter().file("lib/b", "b").finish()},
       .expected = usrmerge_tree().file("usr/lib/b", "b").tree(),
       .judge = Judge::umoci},
      {.name = "path_through_an_absolute_lower_symlink_stays_inside",
       .layers = {TarWriter().directory("var/").directory("run/").symlink("var/run", "/run").finish(),
                  TarWriter().file("var/run/x", "x").finish()},
       .expected = Expect().directory("var").directory("run").symlink("var/run", "/run").file("run/x", "x").tree(),
       .judge = Judge::umoci},
      {.name = "path_through_a_symlink_that_leads_out_stays_inside",
       .layers = {TarWriter().directory("a/").symlink("a/up", "../../../../etc").finish(),
                  TarWriter().file("a/up/x", "x").finish()},
       .expected =
           Expect().directory("a").symlink("a/up", "../../../../etc").directory("etc").file("etc/x", "x").tree(),
       .judge = Judge::umoci},
      {.name = "path_through_a_symlink_of_the_same_layer",
       .layers = {TarWriter().directory("real/").symlink("l", "real").file("l/x", "x").finish()},
       .expected = Expect().directory("real").symlink("l", "real").file("real/x", "x").tree(),
       .judge = Judge::umoci},
      {.name = "path_through_two_symlinks",
       .layers =
           {TarWriter().directory("a/").directory("a/b/").symlink("one", "two").symlink("two", "a/./b/../b").finish(),
            TarWriter().file("one/x", "x").finish()},
       .expected = Expect()
                       .directory("a")
                       .directory("a/b")
                       .symlink("one", "two")
                       .symlink("two", "a/./b/../b")
                       .file("a/b/x", "x")
                       .tree(),
       .judge = Judge::umoci},
      {.name = "path_through_a_dangling_symlink_makes_its_target",
       .layers = {TarWriter().symlink("l", "no/where").finish(), TarWriter().file("l/x", "x").finish()},
       .expected =
           Expect().symlink("l", "no/where").directory("no").directory("no/where").file("no/where/x", "x").tree(),
       .judge = Judge::umoci},
      {.name = "last_component_is_never_followed",
       .layers = {TarWriter().file("real", "real").symlink("l", "real").finish(),
                  TarWriter().file("l", "own").finish()},
       .expected = Expect().file("real", "real").file("l", "own").tree(),
       .judge = Judge::umoci},
      {.name = "path_through_a_loop_of_symlinks",
       .layers = {TarWriter().symlink("a", "b").symlink("b", "a").finish(), TarWriter().file("a/x", "x").finish()},
       .refused = "loop of symlinks"},
      {.name = "path_through_a_symlink_to_a_file",
       .layers = {TarWriter().file("etc", "file").symlink("l", "etc").finish(), TarWriter().file("l/x", "x").finish()},
       .refused = "through a symlink to what is no directory"},
  };
}

std::vector<ImageCase> names() {
  const std::string long_name(255, 'n');
  const std::string raw_name = "caf\xe9-\xff\xfe";
  return {
      {.name = "absolute_names_are_below_the_root",
       .layers = {TarWriter().directory("/abs/").file("/abs/f", "f").finish()},
       .expected = Expect().directory("abs").file("abs/f", "f").tree(),
       .judge = Judge::umoci},
      {.name = "dot_dot_that_stays_inside",
       .layers = {TarWriter().directory("a/").file("a/../b", "b").finish()},
       .expected = Expect().directory("a").file("b", "b").tree(),
       .judge = Judge::umoci},
      {.name = "names_that_only_look_like_dot_dot",
       .layers =
           {TarWriter().directory("..data/").file("..data/...", "x").file("wh.x", "y").file(".whx", "z").finish()},
       .expected = Expect().directory("..data").file("..data/...", "x").file("wh.x", "y").file(".whx", "z").tree(),
       .judge = Judge::umoci},
      {.name = "names_that_are_not_utf8",
       .layers = {TarWriter().file(raw_name, "x").symlink("l", raw_name).finish()},
       .expected = Expect().file(raw_name, "x").symlink("l", raw_name).tree(),
       .judge = Judge::umoci},
      {.name = "names_with_blanks_newlines_and_backslashes",
       .layers = {TarWriter().file("a b\nc\\d\te", "x").finish()},
       .expected = Expect().file("a b\nc\\d\te", "x").tree(),
       .judge = Judge::umoci},
      {.name = "name_of_255_bytes",
       .layers = {TarWriter().add({.name = long_name, .data = "x", .pax = {{"path", long_name}}}).finish()},
       .expected = Expect().file(long_name, "x").tree(),
       .judge = Judge::umoci},
      {.name = "name_of_256_bytes",
       .layers = {TarWriter().add({.name = "x", .pax = {{"path", long_name + "n"}}}).finish()},
       .refused = "more than 255 bytes"},
      {.name = "trailing_slash_of_a_v7_directory",
       .layers = {TarWriter()
                      .add({.name = "d/", .type = '\0', .mode = 0755, .magic = std::string(8, '\0')})
                      .file("d/x", "x")
                      .finish()},
       .expected = Expect().directory("d").file("d/x", "x").tree(),
       .judge = Judge::umoci},
  };
}

std::vector<ImageCase> hard_links() {
  return {
      {.name = "hard_link_in_one_layer",
       .layers = {TarWriter().file("a", "1", 0600).hard_link("d/b", "a").finish()},
       .expected = Expect().file("a", "1", 0600).directory("d").same("d/b", "a").tree(),
       .judge = Judge::umoci},
      {.name = "hard_link_to_a_file_of_a_lower_layer",
       .layers = {TarWriter().add({.name = "a", .data = "1", .mode = 04711, .uid = 7, .gid = 8, .mtime = 77}).finish(),
                  TarWriter().add({.name = "b", .type = '1', .link = "a", .mode = 0, .uid = 99, .mtime = 1}).finish()},
       .expected = Expect()
                       .file("a", "1", 04711)
                       .at("a",
                           [](NodeSpec& n) {
                             n.uid = 7;
                             n.gid = 8;
                             n.mtime = {77, 0};
                           })
                       .same("b", "a")
                       .tree()},
      {.name = "hard_link_to_a_symlink",
       .layers = {TarWriter().file("t", "t").symlink("a", "t").hard_link("b", "a").finish()},
       .expected = Expect().file("t", "t").symlink("a", "t").same("b", "a").tree(),
       .judge = Judge::umoci},
      {.name = "hard_link_to_an_absolute_name",
       .layers = {TarWriter().file("a", "1").hard_link("b", "/a").hard_link("c", "./a").finish()},
       .expected = Expect().file("a", "1").same("b", "a").same("c", "a").tree(),
       .judge = Judge::umoci},
      {.name = "hard_link_through_a_lower_symlink",
       .layers = {usrmerge(), TarWriter().hard_link("b", "lib/a").finish()},
       .expected = usrmerge_tree().file("b", "a").at("usr/lib/a", [](NodeSpec& n) { n.same_as = "b"; }).tree(),
       .judge = Judge::umoci},
      {.name = "hard_link_to_a_device",
       .layers = {TarWriter()
                      .add({.name = "null", .type = '3', .mode = 0666, .major = 1, .minor = 3})
                      .hard_link("void", "null")
                      .finish()},
       .expected = Expect()
                       .put("null", {.type = oci::FileType::character_device, .mode = 0666, .device = {1, 3}})
                       .same("void", "null")
                       .tree(),
       .judge = Judge::umoci},
      {.name = "hard_link_to_itself_changes_nothing",
       .layers = {TarWriter().file("a", "1").hard_link("a", "a").finish()},
       .expected = Expect().file("a", "1").tree()},
      {.name = "hard_link_in_place_of_the_directory_that_held_its_target",
       .layers = {TarWriter().directory("d/").file("d/x", "x").finish(), TarWriter().hard_link("d", "d/x").finish()},
       .expected = Expect().file("d", "x").tree()},
      {.name = "one_name_of_a_hard_link_is_replaced",
       .layers = {TarWriter().file("a", "1").hard_link("b", "a").finish(), TarWriter().file("a", "2").finish()},
       .expected = Expect().file("a", "2").file("b", "1").tree(),
       .judge = Judge::umoci},
  };
}

std::vector<ImageCase> refused_hard_links() {
  return {
      {.name = "hard_link_to_nothing",
       .layers = {TarWriter().hard_link("b", "a").finish()},
       .refused = "neither in the layers below nor earlier"},
      {.name = "hard_link_to_what_comes_later",
       .layers = {TarWriter().hard_link("b", "a").file("a", "1").finish()},
       .refused = "neither in the layers below"},
      {.name = "hard_link_to_a_directory",
       .layers = {TarWriter().directory("d/").hard_link("b", "d").finish()},
       .refused = "which is a directory"},
      {.name = "hard_link_to_what_this_layer_removes",
       .layers = {TarWriter().file("a", "1").finish(), TarWriter().hard_link("b", "a").file(".wh.a", "").finish()},
       .refused = "neither in the layers below"},
      {.name = "hard_link_out_of_the_image",
       .layers = {TarWriter().hard_link("b", "../../etc/passwd").finish()},
       .refused = "no path inside the image"},
  };
}

std::vector<ImageCase> symlinks() {
  const std::string long_target(4095, 't');
  return {
      {.name = "symlink_of_4095_bytes",
       .layers =
           {TarWriter().add({.name = "l", .type = '2', .mode = 0777, .pax = {{"linkpath", long_target}}}).finish()},
       .expected = Expect().symlink("l", long_target).tree()},
      {.name = "symlink_of_4096_bytes",
       .layers = {TarWriter()
                      .add({.name = "l", .type = '2', .mode = 0777, .pax = {{"linkpath", long_target + "t"}}})
                      .finish()},
       .refused = "symlink of more than 4095 bytes"},
      {.name = "symlinks_may_point_anywhere",
       .layers = {TarWriter()
                      .symlink("out", "../../../etc/shadow")
                      .symlink("abs", "/proc/self")
                      .symlink("loop", "loop")
                      .finish()},
       .expected =
           Expect().symlink("out", "../../../etc/shadow").symlink("abs", "/proc/self").symlink("loop", "loop").tree(),
       .judge = Judge::umoci},
      {.name = "symlink_to_nothing",
       .layers = {TarWriter().symlink("l", "").finish()},
       .refused = "symlink to nothing"},
  };
}

}  // namespace

std::vector<ImageCase> path_cases() {
  std::vector<ImageCase> cases;
  for (auto& part : {parents(), symlinks_on_the_way(), names()}) cases.insert(cases.end(), part.begin(), part.end());
  return cases;
}

std::vector<ImageCase> link_cases() {
  std::vector<ImageCase> cases;
  for (auto& part : {hard_links(), refused_hard_links(), symlinks()})
    cases.insert(cases.end(), part.begin(), part.end());
  return cases;
}

}  // namespace hearth::image::testing
