defmodule Palladion.Test.Hostile do
  @moduledoc """
  Clusters on servers that mean harm: they find out at once what never becomes complete, and come back within milliseconds.
  """

  import Palladion.Test.Clusters

  @doc "A cluster that speaks such a version and compression, with both of its connections."
  def cluster!(server, dialect, options \\ []) do
    name = ready_cluster!(server, quick(dialect, options))
    await_whole(name)
    name
  end

  @doc "Options for such a cluster; those given win."
  def quick({version, compression}, options \\ []) do
    {protocol, options} = Keyword.pop(options, :protocol, [])

    Keyword.merge(
      [
        protocol: [version: version, compression: compression] ++ protocol,
        pool: [size: 2],
        topology: [debounce: 10],
        reconnect: [min: 5, max: 20],
        heartbeat_interval: 60,
        heartbeat_timeout: 300,
        shutdown_timeout: 200
      ],
      options
    )
  end

  @doc "Waits until there are both connections."
  def await_connected(name) do
    eventually("the lost connection is replaced", fn ->
      {:ok, %{endpoints: [%{connections: connections}]}} = Palladion.status(name)
      length(connections) == 2
    end)
  end

  @doc "Waits until there are both connections, and no stream id is taken."
  def await_whole(name) do
    eventually("the pool is whole, and nothing is under way", fn ->
      {:ok, %{endpoints: [%{connections: connections}]} = status} = Palladion.status(name)
      {length(connections), status.in_flight, status.orphans} == {2, 0, 0}
    end)
  end
end
