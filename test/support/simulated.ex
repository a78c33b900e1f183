defmodule Palladion.Test.Simulated do
  @moduledoc """
  Clusters of the driver on simulated clusters of the testkit, which notice within milliseconds what happens to their nodes.
  """

  import Palladion.Test.Clusters

  alias Palladion.Test.Testkit

  @doc "A cluster that knows all nodes of the server, each of those it uses with its connections."
  def follow!(server, options \\ []) do
    name = ready_cluster!(server, hurried(options))
    await_nodes(name, server)
    await_connections(name)
    name
  end

  @doc "Options for a cluster that is in a hurry, with the sections that are given."
  def hurried(given) do
    [
      topology: [debounce: 10],
      reconnect: [min: 10, max: 100],
      pool: [size: 1],
      # Some rules never answer.
      shutdown_timeout: 200
    ]
    |> Keyword.merge(given, fn _option, quick, given ->
      if is_list(given), do: Keyword.merge(quick, given), else: given
    end)
  end

  @doc "Waits until the cluster has the nodes that the server has."
  def await_nodes(name, server) do
    eventually("the nodes are known", fn -> known(name) == there(server) end)
  end

  @doc "Waits until each node that takes requests has its connections, but for those at `without:`."
  def await_connections(name, options \\ []) do
    without = List.wrap(options[:without])

    eventually("every node has connections", fn ->
      for(node <- used(name), node.state != :up, do: node.address) == without
    end)
  end

  @doc "The nodes as the cluster knows them: host ids and addresses."
  def known(name), do: name |> nodes() |> places()

  @doc "The nodes that the server has, likewise."
  def there(server), do: server |> Testkit.nodes() |> places()

  defp places(nodes), do: MapSet.new(nodes, &{&1.host_id, &1.address})

  @doc "The nodes that get connections."
  def used(name), do: for(node <- nodes(name), node.distance != :ignored, do: node)

  @doc "The nodes, in the order of their addresses."
  def nodes(name) do
    {:ok, nodes} = Palladion.nodes(name)
    Enum.sort_by(nodes, &:inet.parse_address(to_charlist(&1.address)))
  end

  @doc "The state of the node at an address."
  def state(name, address) do
    Enum.find_value(nodes(name), &(&1.address == address && &1.state))
  end

  @doc "The addresses of the nodes that answer so many queries, sorted."
  def serving(name, queries \\ 12) do
    for(_ <- 1..queries, do: who(name)) |> Enum.uniq() |> Enum.sort()
  end

  @doc "The address of the node that answers a query."
  def who(name, options \\ []) do
    %{rows: [row]} =
      Palladion.query!(name, "SELECT broadcast_address FROM system.local", [], options)

    row["broadcast_address"] |> :inet.ntoa() |> to_string()
  end

  @doc "The address of the node that the control connection goes to, or `nil`."
  def control(name) do
    {:ok, %{control: control}} = Palladion.status(name)
    control && control.address |> String.split(":") |> hd()
  end

  @doc "The processes of a cluster by what they are."
  def pids(name) do
    for {id, pid, _type, _modules} <- Supervisor.which_children(name), into: %{}, do: {id, pid}
  end

  @doc "The cluster's task supervisor."
  def tasks(name), do: Map.fetch!(pids(name), Task.Supervisor)

  @doc "One of the cluster's counters."
  def stat(name, counter) do
    {:ok, stats} = Palladion.stats(name)
    Map.fetch!(stats, counter)
  end
end
