defmodule Palladion.Config.ContactPointTest do
  use ExUnit.Case, async: true

  alias Palladion.Config.ContactPoint

  defp parse!(points, port \\ 9042) do
    assert {points, []} = ContactPoint.parse(points, port)
    Enum.map(points, &{&1.host, &1.port})
  end

  defp problem(point) do
    assert {[], [problem]} = ContactPoint.parse([point], 9042)
    assert %{path: [:contact_points, 0], reason: :invalid_contact_point} = problem
    problem.message
  end

  test "every way to write one" do
    for {given, host, port} <- [
          {"db1", "db1", 9042},
          {"db1.example.com", "db1.example.com", 9042},
          {"db_1", "db_1", 9042},
          {"db1:9142", "db1", 9142},
          {"10.0.0.1", "10.0.0.1", 9042},
          {"10.0.0.1:9142", "10.0.0.1", 9142},
          {"::1", "::1", 9042},
          {"2001:DB8::1", "2001:db8::1", 9042},
          {"[::1]", "::1", 9042},
          {"[::1]:9142", "::1", 9142},
          {~c"db1", "db1", 9042},
          {~c"db1:9142", "db1", 9142},
          {{10, 0, 0, 1}, "10.0.0.1", 9042},
          {{0, 0, 0, 0, 0, 0, 0, 1}, "::1", 9042},
          {{"db1", 9142}, "db1", 9142},
          {{~c"db1", 9142}, "db1", 9142},
          {{"::1", 9142}, "::1", 9142},
          {{{10, 0, 0, 1}, 9142}, "10.0.0.1", 9142}
        ] do
      assert parse!([given]) == [{host, port}], inspect(given)
    end
  end

  test "the port option is the default" do
    assert parse!(["db1", "db2:1"], 9142) == [{"db1", 9142}, {"db2", 1}]
  end

  test "the same one twice is one" do
    assert parse!(["db1", "db1:9042", "db2"]) == [{"db1", 9042}, {"db2", 9042}]
  end

  test "what is wrong with one is told" do
    for {given, text} <- [
          {"", "is not a host name"},
          {"two words", "is not a host name"},
          {"cassandra://db1:9042", "is a URL"},
          {"db1/keyspace", "is a URL or path"},
          {"bücher.example", "xn--"},
          {"10.0.0.300", "is not an IP address"},
          {"10.0.0", "is not an IP address"},
          {{10, 0, 0, 300}, "is not an IP address"},
          {"db1:", "has no number"},
          {"db1:abc", "has no number"},
          {"db1:90420 ", "has no number"},
          {"db1:0", "port"},
          {"db1:65536", "port"},
          {"db1:-1", "port"},
          {{"db1", "9042"}, "port"},
          {{"db1", nil}, "port"},
          {"[db1]:9042", "is none of"},
          {"[::1", "is none of"},
          {"[::1]x", "is none of"},
          {"1:2:3", "is not a host name"},
          {"fe80::1%eth0", "interface"},
          {:localhost, "is none of"},
          {nil, "is none of"},
          {%{host: "db1"}, "is none of"},
          {[], "is none of"},
          {<<255>>, "is not a host name"}
        ] do
      assert problem(given) =~ text, inspect(given)
    end
  end

  test "all the bad ones are told, with their places" do
    assert {[%{host: "db2"}], [first, last]} = ContactPoint.parse(["a b", "db2", "c:d"], 9042)
    assert first.path == [:contact_points, 0]
    assert last.path == [:contact_points, 2]
  end

  test "what is not a list of them" do
    for {given, reason, text} <- [
          {"db1,db2", :invalid_value, "String.split"},
          {~c"db1", :invalid_value, "String.split"},
          {[], :empty, "one entry"},
          {:db1, :invalid_value, "must be a list"},
          {["db1" | "db2"], :invalid_value, "must be a list"},
          {{"db1", 9042}, :invalid_value, "must be a list"}
        ] do
      assert {[], [%{path: [:contact_points], reason: ^reason} = problem]} =
               ContactPoint.parse(given, 9042)

      assert problem.message =~ text
    end
  end

  test "a password in one is not repeated" do
    refute problem("admin:hunter2@db1:9042") =~ "hunter2"
  end
end
