defmodule Palladion.PoliciesGuideTest do
  # Compiles the modules of the guide, whose names are nobody else's.
  use ExUnit.Case, async: true

  alias Palladion.{Config, Endpoint, EndpointResolver, Error, Node}
  alias Palladion.Cluster.Topology.Callbacks
  alias Palladion.RetryPolicy
  alias Palladion.Test.Certificates

  @guide Path.expand("../../guides/policies.md", __DIR__)

  setup_all do
    blocks =
      for [_, code] <- Regex.scan(~r/^```elixir\n(.*?)^```$/ms, File.read!(@guide)), do: code

    {modules, others} = Enum.split_with(blocks, &String.starts_with?(&1, "defmodule"))

    own = "defmodule MyApp.Nodes do\n  def endpoint(node, :green), do: node.address\nend"
    for code <- [own | modules], do: Code.compile_string(code, "guides/policies.md")

    options =
      for code <- others, code =~ ~r/\A[a-z_]+:/ do
        {options, _bindings} = Code.eval_string("[#{code}\n]")
        options
      end

    %{options: options}
  end

  test "every block of options is right", %{options: options} do
    assert length(options) > 10
    chain = Certificates.chain()

    for given <- options do
      assert {:ok, _config} = Config.parse(complete(given, chain))
    end
  end

  # Without the system's roots, which may not be there.
  defp complete(given, chain) do
    tls = if given[:tls], do: [cacerts: [chain.root]] ++ given[:tls], else: false
    [name: MyApp.DB] ++ Keyword.put(given, :tls, tls)
  end

  test "the modules do what the guide says" do
    nodes = [
      %Node{host_id: "1", datacenter: "eu", rack: "a"},
      %Node{host_id: "2", datacenter: "eu", rack: "b"},
      %Node{host_id: "3", datacenter: "us", rack: "a"}
    ]

    assert Callbacks.distances({MyApp.NearRack, rack: "a"}, nodes, "eu") ==
             {:ok, %{"1" => {:local, 0}, "2" => {:local, 1}}}

    context = %{attempt: 2, idempotent: true, statement: "SELECT 1"}
    patient = {MyApp.Patient, []}

    assert RetryPolicy.decide(patient, %Error{reason: :overloaded}, context) ==
             {:retry, :next, 200}

    assert RetryPolicy.decide(patient, %Error{reason: :is_bootstrapping}, context) ==
             {:retry, :next, 0}

    tunnels = {MyApp.Tunnels, %{"10.0.0.1" => 19_001}}

    assert {:ok, %Endpoint{address: "localhost", port: 19_001, verified_name: "db.example"}} =
             EndpointResolver.resolve(tunnels, %Node{address: "10.0.0.1", port: 9042})

    assert {:error, :no_tunnel} =
             EndpointResolver.resolve(tunnels, %Node{address: "10.0.0.2", port: 9042})

    assert apply(MyApp.Pauses, :next_delay, [60, [then: 5]]) == 1_000
    assert apply(MyApp.Pauses, :next_delay, [61, [then: 5]]) == 5
  end
end
