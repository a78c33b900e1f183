defmodule Palladion.Config.VerifiedNameTest do
  use ExUnit.Case, async: true

  alias Palladion.Config.{ContactPoint, VerifiedName}
  alias Palladion.Node

  @host_id "8d2c6b00-d6c1-41ee-8c3e-0242ac120002"

  defp parse(options) do
    [verify: :verify_peer, verify_hostname: nil, server_name_indication: nil]
    |> Keyword.merge(options)
    |> Map.new()
    |> VerifiedName.parse()
  end

  defp parse!(options) do
    assert {names, []} = parse(options)
    names
  end

  defp problems(options) do
    assert {_names, [_ | _] = problems} = parse(options)
    Enum.map(problems, &{&1.path, &1.reason, &1.message})
  end

  defp messages(given) do
    problems = problems(verify_hostname: given)
    assert Enum.all?(problems, fn {path, _, _} -> path == [:tls, :verify_hostname] end)
    Enum.map(problems, fn {_path, _reason, message} -> message end)
  end

  def named(node, domain), do: "#{node.address}.#{domain}"

  test "SNI is the verified name as well, unless that is given" do
    for {options, sni, verified} <- [
          {[server_name_indication: "db.example"], "db.example", "db.example"},
          {[server_name_indication: ~c"db.example"], "db.example", "db.example"},
          {[server_name_indication: :disable], false, nil},
          {[verify_hostname: "db.example"], nil, "db.example"},
          {[verify_hostname: "10.0.0.1"], nil, "10.0.0.1"},
          {[verify_hostname: {10, 0, 0, 1}], nil, "10.0.0.1"},
          {[verify_hostname: false], nil, false},
          {[server_name_indication: "a", verify_hostname: "b"], "a", "b"},
          {[server_name_indication: "a", verify_hostname: false], "a", false},
          {[server_name_indication: "a", verify_hostname: "{rack}.b"], "a",
           {:template, "{rack}.b"}},
          {[server_name_indication: :disable, verify_hostname: "b"], false, "b"},
          {[verify: :verify_none, server_name_indication: "a"], "a", "a"}
        ] do
      assert parse!(options) == %{sni: sni, verified: verified}
    end
  end

  test "a name for each: every way to write one" do
    fun = fn node -> node.address end

    for {given, verified} <- [
          {"node-{host_id}.example", {:template, "node-{host_id}.example"}},
          {~c"node-{host_id}.example", {:template, "node-{host_id}.example"}},
          {"{address}", {:template, "{address}"}},
          {"gate-{address}.db", {:template, "gate-{address}.db"}},
          {"{datacenter}.{rack}-{port}.db", {:template, "{datacenter}.{rack}-{port}.db"}},
          {%{}, {:map, %{}}},
          {%{"10.0.0.1" => "db1", {10, 0, 0, 2} => {10, 9, 9, 9}},
           {:map, %{"10.0.0.1" => "db1", "10.0.0.2" => "10.9.9.9"}}},
          {%{"DB1.example" => "a", "db1.example:9142" => "b", {"db2", 1} => ~c"c"},
           {:map, %{"db1.example" => "a", "db1.example:9142" => "b", "db2:1" => "c"}}},
          {%{String.upcase(@host_id) => "db1"}, {:map, %{@host_id => "db1"}}},
          {fun, {:function, fun}},
          {{__MODULE__, :named, ["example"]}, {:function, {__MODULE__, :named, ["example"]}}}
        ] do
      assert parse!(verify_hostname: given).verified == verified
    end
  end

  test "names that are none" do
    for {name, bad} <- [
          server_name_indication: "10.0.0.1",
          server_name_indication: "::1",
          server_name_indication: "",
          server_name_indication: false,
          server_name_indication: "two words",
          server_name_indication: "db:9042",
          server_name_indication: "{rack}.example",
          verify_hostname: "",
          verify_hostname: true,
          verify_hostname: "*.example",
          verify_hostname: :db,
          verify_hostname: <<255, "{">>
        ] do
      assert [{[:tls, ^name], :invalid_name, _}] = problems([{name, bad}])
    end
  end

  test "mistakes in the other forms are told, each with what to write" do
    for {given, text} <- [
          {"two words", "must be a host name, an IP address, a template, a map, a function,"},
          {"node-{hostid}.example", "unknown variable {hostid}, did you mean {host_id}?"},
          {"{zzz}.example",
           "{zzz}, there are {address}, {port}, {host_id}, {datacenter}, {rack}"},
          {"{rack.example", "has a brace without its other half"},
          {"rack}.{rack}", "has a brace without its other half"},
          {"{rack} x", "gives no host name: the name \"rack1 x\" is not a host name"},
          {"{rack}.example:9042", "gives no host name"},
          {"{rack}", "lets a server choose the domain"},
          {"db.{datacenter}", "let it end with a domain of yours, as in \"{rack}.db.example\""},
          {"db.example{host_id}", "lets a server choose the domain"},
          {"{rack}x", "lets a server choose the domain"},
          {"db{port}", "lets a server choose the domain"},
          {%{"a b" => "db1"}, "\"a b\" is no key: a node is found by a host name"},
          {%{"db1:0" => "db1"}, "\"db1:0\" is no key"},
          {%{17 => "db1"}, "17 is no key"},
          {%{"10.0.0.1" => "a b"}, "of \"10.0.0.1\": the name \"a b\" is not a host name"},
          {%{"10.0.0.1" => nil}, "of \"10.0.0.1\": the name nil is not a host name"},
          {%{"10.0.0.1" => false}, "of \"10.0.0.1\": false turns the check off, which can't be"},
          {fn -> "db1" end, "must be a function that takes the node"},
          {{__MODULE__, :named, []}, "named/1, with the node before its arguments, and there is"},
          {{__MODULE__, :named, "example"}, "must be a function that takes the node"}
        ] do
      assert [message] = messages(given)
      assert message =~ text
    end
  end

  test "all that is wrong in a map or a template is told at once" do
    assert [_, _] = messages(%{"a b" => "db1", "10.0.0.1" => nil})
    assert [_, _] = messages("{a}.{b}")
  end

  test "a name to verify without verification would have no effect" do
    for given <- ["a", "{rack}.example", %{}, & &1.rack, {__MODULE__, :named, ["example"]}] do
      assert [{[:tls, :verify_hostname], :conflict, _}] =
               problems(verify: :verify_none, verify_hostname: given)
    end

    assert %{verified: false} = parse!(verify: :verify_none, verify_hostname: false)
    assert %{verified: nil} = parse!(verify: :verify_none, verify_hostname: nil)
  end

  describe "contact points" do
    @points [
      %ContactPoint{host: "db1.example", port: 9042},
      %ContactPoint{host: "10.0.0.1", port: 9142}
    ]

    defp names(given) do
      assert {points, []} = VerifiedName.put(@points, parse!(verify_hostname: given).verified)
      assert Enum.map(points, &{&1.host, &1.port}) == Enum.map(@points, &{&1.host, &1.port})
      Enum.map(points, & &1.verified_name)
    end

    test "have names of their own where there is none for all" do
      for {given, names} <- [
            {nil, [nil, nil]},
            {false, [nil, nil]},
            {"db.example", [nil, nil]},
            {%{"db1.example" => "a", "10.0.0.1:9142" => "b"}, ["a", "b"]},
            {%{"db1.example:9142" => "a", "10.0.0.1" => "b"}, [nil, "b"]},
            {%{"DB1.example:9042" => "a", "10.0.0.1:9042" => "b"}, ["a", nil]},
            {"{address}", ["db1.example", "10.0.0.1"]},
            {"n{port}.{address}.x", ["n9042.db1.example.x", "n9142.10.0.0.1.x"]},
            {&if(&1.port == 9142, do: "b"), [nil, "b"]},
            {&{:ok, "n#{&1.port}"}, ["n9042", "n9142"]},
            {{__MODULE__, :named, ["x"]}, ["db1.example.x", "10.0.0.1.x"]}
          ] do
        assert names(given) == names
      end
    end

    test "keep their own where a template needs what isn't known of them" do
      for variable <- ~w(host_id datacenter rack) do
        assert names("{address}.{#{variable}}.example") == [nil, nil]
      end
    end

    test "are nodes of which address and port are known, for a function" do
      test = self()
      names(&(send(test, {:asked, &1}) && nil))
      assert_received {:asked, node}
      assert node == %Node{address: "db1.example", port: 9042}
    end

    test "without a name that can be used are told" do
      for {function, reason, text} <- [
            {fn %{rack: rack} when rack != nil -> rack end, :function_failed,
             "raised FunctionClauseError; of a contact point only"},
            {fn _ -> raise "hunter2" end, :function_failed, "raised RuntimeError"},
            {fn _ -> throw("hunter2") end, :function_failed, "ended with throw"},
            {fn _ -> exit("hunter2") end, :function_failed, "ended with exit"},
            {fn _ -> {:error, :later} end, :invalid_name, ":later"},
            {fn _ -> {:error, "later"} end, :invalid_name, "later"},
            {fn _ -> false end, :invalid_name, "verify_hostname: false does it for all"},
            {fn _ -> "two words" end, :invalid_name, "\"two words\" is not a host name"}
          ] do
        assert {@points, [first, second]} = VerifiedName.put(@points, {:function, function})
        assert %{path: [:tls, :verify_hostname], reason: ^reason} = first
        assert first.message =~ "failed for the contact point db1.example:9042: "
        assert first.message =~ text
        assert second.message =~ "the contact point 10.0.0.1:9142"
        refute inspect([first, second]) =~ "hunter2"
      end

      ipv6 = [%ContactPoint{host: "::1", port: 9042}]
      assert {^ipv6, [problem]} = VerifiedName.put(ipv6, {:template, "n{address}.example"})
      assert problem.message =~ "[::1]:9042: the name \"n::1.example\" is not a host name"
    end
  end

  test "the native library has what holds for all" do
    for same <- [nil, false, "db.example"], do: assert(VerifiedName.to_native(same) == same)

    for rule <- [template: "{rack}", map: %{}, function: & &1.rack] do
      assert VerifiedName.to_native(rule) == nil
    end
  end
end
