// How headers say things: names, numbers and times in every dialect. Decisions 8 and 11.
#include "image/testing/image_cases.hpp"
#include "image/testing/tar_writer.hpp"

#include <functional>

namespace hearth::image::testing {

namespace {

ImageCase one_file(std::string name, TarFields fields, const std::function<void(NodeSpec&)>& change,
                   Judge judge = Judge::none) {
  fields.name = "f";
  fields.data = "x";
  return {.name = std::move(name),
          .layers = {TarWriter().add(fields).finish()},
          .expected = Expect().file("f", "x").at("f", change).tree(),
          .judge = judge};
}

ImageCase refused(std::string name, TarFields fields, std::string why) {
  if (fields.name.empty()) fields.name = "f";
  return {.name = std::move(name), .layers = {TarWriter().add(fields).finish()}, .refused = std::move(why)};
}

std::vector<ImageCase> long_names() {
  const std::string folder = std::string(120, 'd') + "/" + std::string(120, 'e');
  const std::string path = folder + "/f";
  const std::string target(300, 't');
  const Expect tree = Expect().directory(std::string(120, 'd')).directory(folder).file(path, "x").symlink("l", target);
  return {
      {.name = "long_names_in_pax",
       .layers = {TarWriter()
                      .add({.name = "short", .data = "x", .pax = {{"path", path}}})
                      .add({.name = "l", .type = '2', .link = "short", .mode = 0777, .pax = {{"linkpath", target}}})
                      .finish()},
       .expected = tree.tree(),
       .judge = Judge::umoci},
      {.name = "long_names_of_gnu",
       .layers = {TarWriter()
                      .add({.name = path, .data = "x", .gnu_long_names = true, .magic = std::string("ustar  \0", 8)})
                      .add({.name = "l",
                            .type = '2',
                            .link = target,
                            .mode = 0777,
                            .gnu_long_names = true,
                            .magic = std::string("ustar  \0", 8)})
                      .finish()},
       .expected = tree.tree(),
       .judge = Judge::umoci},
      {.name = "long_name_in_the_ustar_prefix",
       .layers = {TarWriter().add({.name = std::string(100, 'n'), .data = "x", .prefix = "a/b"}).finish()},
       .expected = Expect().directory("a").directory("a/b").file("a/b/" + std::string(100, 'n'), "x").tree(),
       .judge = Judge::umoci},
      {.name = "no_prefix_in_gnu_headers",
       .layers = {TarWriter()
                      .add({.name = "f", .data = "x", .prefix = "12345670123", .magic = std::string("ustar  \0", 8)})
                      .finish()},
       .expected = Expect().file("f", "x").tree(),
       .judge = Judge::umoci},
      {.name = "name_of_exactly_100_bytes",
       .layers = {TarWriter().file(std::string(100, 'n'), "x").finish()},
       .expected = Expect().file(std::string(100, 'n'), "x").tree(),
       .judge = Judge::umoci},
  };
}

std::vector<ImageCase> pax_precedence() {
  return {
      {.name = "pax_beats_gnu_long_names_and_ustar",
       .layers =
           {TarWriter().add({.name = "gnu", .data = "x", .pax = {{"path", "pax"}}, .gnu_long_names = true}).finish()},
       .expected = Expect().file("pax", "x").tree()},
      {.name = "pax_applies_to_one_entry_only",
       .layers =
           {TarWriter().add({.name = "a", .data = "x", .pax = {{"mtime", "5"}, {"uid", "9"}}}).file("b", "y").finish()},
       .expected = Expect()
                       .file("a", "x")
                       .at("a",
                           [](NodeSpec& n) {
                             n.mtime = {5, 0};
                             n.uid = 9;
                           })
                       .file("b", "y")
                       .tree(),
       .judge = Judge::umoci},
      {.name = "pax_size_beats_the_header",
       .layers = {TarWriter()
                      .add({.name = "f", .data = "12345", .pax = {{"size", "5"}}, .raw_size = "00000000001"})
                      .finish()},
       .expected = Expect().file("f", "12345").tree(),
       .judge = Judge::umoci},
      {.name = "pax_global_header_is_no_file",
       .layers = {TarWriter()
                      .pax_global({{"comment", "made by git"}, {"mtime", "1000000000.5"}})
                      .file("f", "x")
                      .add({.name = "g", .data = "y", .pax = {{"mtime", "7"}}})
                      .pax_global({{"mtime", ""}})
                      .file("h", "z")
                      .finish()},
       .expected = Expect()
                       .file("f", "x")
                       .at("f", [](NodeSpec& n) { n.mtime = {1000000000, 500000000}; })
                       .file("g", "y")
                       .at("g", [](NodeSpec& n) { n.mtime = {7, 0}; })
                       .file("h", "z")
                       .tree()},
      {.name = "pax_global_path_is_ignored",
       .layers = {TarWriter().pax_global({{"path", "evil"}, {"size", "1"}}).file("f", "xyz").finish()},
       .expected = Expect().file("f", "xyz").tree()},
  };
}

std::vector<ImageCase> owners_and_times() {
  return {
      one_file(
          "ids_above_65535", {.uid = 70000, .gid = 100000},
          [](NodeSpec& n) {
            n.uid = 70000;
            n.gid = 100000;
          },
          Judge::umoci),
      one_file(
          "ids_above_2_21_in_base_256", {.uid = 3'000'000, .gid = 4'294'967'294},
          [](NodeSpec& n) {
            n.uid = 3'000'000;
            n.gid = 4'294'967'294;
          },
          Judge::umoci),
      one_file(
          "ids_in_pax", {.pax = {{"uid", "4294967294"}, {"gid", "2097152"}}},
          [](NodeSpec& n) {
            n.uid = 4'294'967'294;
            n.gid = 2097152;
          },
          Judge::umoci),
      one_file(
          "names_of_owners_are_ignored", {.uid = 3, .pax = {{"uname", "root"}, {"gname", "staff"}}},
          [](NodeSpec& n) { n.uid = 3; }, Judge::umoci),
      one_file(
          "setuid_setgid_sticky", {.mode = 07755}, [](NodeSpec& n) { n.mode = 07755; }, Judge::umoci),
      one_file("mode_with_type_bits", {.mode = 0100640}, [](NodeSpec& n) { n.mode = 0640; }),
      one_file(
          "time_in_pax_nanoseconds", {.pax = {{"mtime", "1700000000.123456789"}}},
          [](NodeSpec& n) { n.mtime = {1700000000, 123456789}; }, Judge::umoci),
      one_file(
          "time_with_one_digit", {.pax = {{"mtime", "1700000000.5"}}},
          [](NodeSpec& n) { n.mtime = {1700000000, 500000000}; }, Judge::umoci),
      one_file(
          "time_just_below_the_next_second", {.pax = {{"mtime", "1700000000.999999999"}}},
          [](NodeSpec& n) { n.mtime = {1700000000, 999999999}; }, Judge::umoci),
      one_file(
          "time_with_more_than_nine_digits", {.pax = {{"mtime", "5.1234567899"}}},
          [](NodeSpec& n) { n.mtime = {5, 123456789}; }, Judge::umoci),
      one_file(
          "time_before_1970", {.pax = {{"mtime", "-1.5"}}}, [](NodeSpec& n) { n.mtime = {-2, 500000000}; },
          Judge::umoci),
      one_file(
          "time_before_1970_in_base_256", {.mtime = -86400}, [](NodeSpec& n) { n.mtime = {-86400, 0}; }, Judge::umoci),
      one_file("time_between_minus_one_and_zero", {.pax = {{"mtime", "-0.25"}}},
               [](NodeSpec& n) { n.mtime = {-1, 750000000}; }),
      one_file("time_after_2262", {.pax = {{"mtime", "10000000000.000000001"}}},
               [](NodeSpec& n) { n.mtime = {10000000000, 1}; }),
      one_file("time_after_2038_in_base_256", {.mtime = 9'000'000'000},
               [](NodeSpec& n) { n.mtime = {9'000'000'000, 0}; }),
      one_file("numbers_with_leading_blanks", {.raw_uid = std::string("   17 \0", 7), .raw_mtime = " 12345670123"},
               [](NodeSpec& n) {
                 n.uid = 15;
                 n.mtime = {01234567012, 0};
                 n.mtime = {1402433619, 0};
               }),
      one_file(
          "empty_number_fields_are_zero", {.raw_uid = std::string(8, '\0'), .raw_gid = "        "}, [](NodeSpec&) {},
          Judge::umoci),
  };
}

std::vector<ImageCase> refused_numbers() {
  return {
      refused("id_of_2_32_minus_1", {.pax = {{"uid", "4294967295"}}}, "outside 0..2^32-2"),
      refused("id_above_32_bits", {.pax = {{"gid", "4294967296"}}}, "outside 0..2^32-2"),
      refused("id_negative", {.raw_uid = base256(-1, 8)}, "outside 0..2^32-2"),
      refused("id_that_is_no_number", {.pax = {{"uid", "root"}}}, "uid is no number"),
      refused("id_field_that_is_no_number", {.raw_uid = "0000089"}, "uid is no number"),
      refused("size_negative", {.raw_size = base256(-5, 12)}, "negative size"),
      refused("size_negative_in_pax", {.pax = {{"size", "-5"}}}, "negative size"),
      refused("size_that_is_no_number", {.raw_size = "zzzzzzzzzzz"}, "size that is no number"),
      refused("time_that_is_no_number", {.pax = {{"mtime", "yesterday"}}}, "mtime 'yesterday' is no number"),
      refused("time_that_is_nan", {.pax = {{"mtime", "nan"}}}, "is no number"),
      refused("time_beyond_64_bits", {.pax = {{"mtime", "99999999999999999999"}}}, "is no number"),
      refused("device_minor_beyond_20_bits", {.name = "d", .type = '3', .major = 1, .minor = 1u << 20u},
              "no Linux device"),
      refused("device_major_beyond_12_bits", {.name = "d", .type = '4', .major = 1u << 12u, .minor = 1},
              "no Linux device"),
      refused("pax_record_with_a_wrong_length", {.name = "p", .type = 'x', .data = "99 path=x\n"}, "wrong length"),
      refused("pax_record_without_equals", {.name = "p", .type = 'x', .data = "8 pathx\n"}, "damaged PAX record"),
      refused("pax_header_at_the_end", {.name = "p", .type = 'x', .data = pax_record("path", "x")},
              "ends after an extended header"),
      refused("name_with_a_zero_byte", {.name = "f", .pax = {{"path", std::string("a\0b", 3)}}}, "zero byte in a name"),
      refused("checksum_wrong", {.name = "f", .raw_checksum = "0000000"}, "wrong checksum"),
  };
}

std::vector<ImageCase> xattrs() {
  const std::string capability("\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", 20);
  const std::string capability_v3 =
      std::string("\x01\x00\x00\x03", 4) + capability.substr(4) + std::string("\xe8\x03\x00\x00", 4);
  const auto with = [](const std::map<std::string, std::string>& xattrs) {
    return [xattrs](NodeSpec& n) { n.xattrs = xattrs; };
  };
  return {
      one_file(
          "xattr_file_capability_v2", {.mode = 0755, .pax = {{"SCHILY.xattr.security.capability", capability}}},
          [capability](NodeSpec& n) {
            n.mode = 0755;
            n.xattrs = {{"security.capability", capability}};
          },
          Judge::umoci),
      one_file("xattr_file_capability_v3", {.pax = {{"SCHILY.xattr.security.capability", capability_v3}}},
               with({{"security.capability", capability_v3}})),
      one_file("xattr_of_users_binary_and_empty",
               {.pax = {{"SCHILY.xattr.user.a", std::string("\0\xff=\n", 4)}, {"SCHILY.xattr.user.empty", ""}}},
               with({{"user.a", std::string("\0\xff=\n", 4)}, {"user.empty", ""}})),
      one_file("xattr_of_overlayfs_has_no_effect",
               {.pax = {{"SCHILY.xattr.trusted.overlay.opaque", "y"},
                        {"SCHILY.xattr.trusted.overlay.redirect", "/etc"},
                        {"SCHILY.xattr.user.overlay.opaque", "y"}}},
               with({{"user.overlay.opaque", "y"}})),
      {.name = "xattr_of_overlayfs_on_a_directory",
       .layers =
           {TarWriter().directory("d/").file("d/x", "x").finish(),
            TarWriter()
                .add({.name = "d/", .type = '5', .mode = 0755, .pax = {{"SCHILY.xattr.trusted.overlay.opaque", "y"}}})
                .finish()},
       .expected = Expect().directory("d").file("d/x", "x").tree()},
      {.name = "attributes_listed_again_are_replaced",
       .layers = {TarWriter()
                      .add({.name = "d/",
                            .type = '5',
                            .mode = 02775,
                            .uid = 1,
                            .mtime = 1,
                            .pax = {{"SCHILY.xattr.user.old", "1"}}})
                      .finish(),
                  TarWriter()
                      .add({.name = "d/",
                            .type = '5',
                            .mode = 0700,
                            .gid = 2,
                            .mtime = 2,
                            .pax = {{"SCHILY.xattr.user.new", "2"}}})
                      .finish()},
       .expected = Expect()
                       .directory("d", 0700)
                       .at("d",
                           [](NodeSpec& n) {
                             n.gid = 2;
                             n.mtime = {2, 0};
                             n.xattrs = {{"user.new", "2"}};
                           })
                       .tree()},
      {.name = "xattr_of_users_on_a_symlink_is_left_out",
       .layers = {TarWriter()
                      .add({.name = "l", .type = '2', .link = "t", .mode = 0777, .pax = {{"SCHILY.xattr.user.x", "1"}}})
                      .finish()},
       .expected = Expect().symlink("l", "t").tree(),
       .note = "were left out"},
  };
}

std::vector<ImageCase> special_files() {
  return {
      {.name = "special_files",
       .layers = {TarWriter()
                      .add({.name = "null", .type = '3', .mode = 0666, .major = 1, .minor = 3})
                      .add({.name = "disk", .type = '4', .mode = 0660, .gid = 6, .major = 8, .minor = 17})
                      .add({.name = "big", .type = '4', .mode = 0600, .major = 4095, .minor = 1048575})
                      .add({.name = "pipe", .type = '6', .mode = 0622})
                      .finish()},
       .expected = Expect()
                       .put("null", {.type = oci::FileType::character_device, .mode = 0666, .device = {1, 3}})
                       .put("disk", {.type = oci::FileType::block_device, .mode = 0660, .gid = 6, .device = {8, 17}})
                       .put("big", {.type = oci::FileType::block_device, .mode = 0600, .device = {4095, 1048575}})
                       .put("pipe", {.type = oci::FileType::fifo, .mode = 0622})
                       .tree()},
      {.name = "xattr_with_an_impossible_name",
       .layers =
           {TarWriter().add({.name = "f", .pax = {{"SCHILY.xattr.user." + std::string(251, 'x'), "1"}}}).finish()},
       .refused = "xattr with an impossible name"},
      {.name = "xattr_that_is_too_large",
       .layers = {TarWriter().add({.name = "f", .pax = {{"SCHILY.xattr.user.x", std::string(65537, 'x')}}}).finish()},
       .refused = "xattr of more than 64 KiB"},
  };
}

}  // namespace

std::vector<ImageCase> header_cases() {
  std::vector<ImageCase> cases;
  for (auto& part : {long_names(), pax_precedence(), owners_and_times(), refused_numbers()})
    cases.insert(cases.end(), part.begin(), part.end());
  return cases;
}

std::vector<ImageCase> attribute_cases() {
  auto cases = xattrs();
  for (auto& more : special_files()) cases.push_back(std::move(more));
  return cases;
}

}  // namespace hearth::image::testing
