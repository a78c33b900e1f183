defmodule Palladion.LoadBalancingPolicy do
  @moduledoc """
  Says which nodes take requests.

  The option `load_balancing:` is one of

  | value | nodes |
  |---|---|
  | `:round_robin` (default), `{:round_robin, remote_nodes: 2}` | `Palladion.LoadBalancingPolicies.RoundRobin`: those of the local data center, in turn |
  | `:all_nodes` | `Palladion.LoadBalancingPolicies.AllNodes`: all, in turn |
  | `MyApp.Policy`, `{MyApp.Policy, options}` | what this module says, which has this behaviour |

  A policy gives each node a distance, and with it a preference if it wants:

    * `:local` – gets `pool: [size:]` connections and takes requests
    * `:remote` – gets `pool: [remote_size:]` connections and takes requests only while no local
      node has a connection
    * `:ignored` – gets none; so does a node that the policy doesn't mention

  A preference is a number from 0 to 65,535. Among nodes of a distance, those of preference 0
  (which is the default) are asked first, in turn; those of preference 1 while none of preference
  0 can take a request, and so on.

  ## A module of your own

  One rack before the others:

      defmodule MyApp.NearRack do
        @behaviour Palladion.LoadBalancingPolicy

        @impl true
        def distances(nodes, %{local_datacenter: datacenter, options: options}) do
          for node <- nodes, node.datacenter == datacenter, into: %{} do
            preference = if node.rack == options[:rack], do: 0, else: 1
            {node.host_id, {:local, preference}}
          end
        end
      end

      load_balancing: {MyApp.NearRack, rack: "a"}

  It is asked when the nodes change, in a process of its own and with a time limit; requests are
  routed by its last answer. So it answers for all nodes, also those that are down at present.
  After an error, which is logged, nodes keep their distances, and new ones are `:local` if they
  are in the local data center.
  """

  alias Palladion.Node

  @typedoc """
  What there is to know beside the nodes: the data center to prefer (`local_datacenter:`, or
  that of the first contact point reached; `nil` if it has none), and the `options` of
  `load_balancing: {module, options}`, or `[]`.
  """
  @type context :: %{local_datacenter: String.t() | nil, options: term()}

  @type distance :: Node.distance() | {:local | :remote, Node.preference()}

  @doc """
  The distances of nodes, by host id. One that is missing is `:ignored`.
  """
  @callback distances(nodes :: [Node.t()], context()) :: %{Node.host_id() => distance()}
end
