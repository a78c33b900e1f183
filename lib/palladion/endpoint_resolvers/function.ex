defmodule Palladion.EndpointResolvers.Function do
  @moduledoc """
  What a function says: `endpoint_resolver: &MyApp.Nodes.endpoint/1`, or
  `{MyApp.Nodes, :endpoint, [:green]}`, which is called with the node before the arguments.

  It gets a `Palladion.Node` and returns `"host"`, `"host:port"`, `{host, port}`, a
  `Palladion.Endpoint`, any of them as `{:ok, …}`, or `{:error, reason}`. A host is dialled, and
  its certificate must be for it. Without a port it's the announced one.

      iex> node = %Palladion.Node{address: "10.0.0.1", port: 9042, rack: "a"}
      iex> fun = fn node -> "rack-\#{node.rack}.example" end
      iex> Palladion.EndpointResolvers.Function.resolve(node, fun)
      {:ok, %Palladion.Endpoint{address: "rack-a.example", port: 9042}}
  """

  @behaviour Palladion.EndpointResolver

  alias Palladion.{Config, Endpoint}
  alias Palladion.Config.NodeFunction

  @doc """
  The function's answer as an endpoint.

  Errors: the function's own, or a text where its answer is no endpoint.
  """
  @impl true
  @spec resolve(Palladion.Node.t(), (Palladion.Node.t() -> term()) | mfa_with_arguments) ::
          {:ok, Endpoint.t()} | {:error, term()}
        when mfa_with_arguments: {module(), atom(), [term()]}
  def resolve(node, fun) do
    case NodeFunction.call(fun, node) do
      {:error, reason} -> {:error, reason}
      {:ok, answer} -> Config.Endpoint.parse(answer, node.port)
      answer -> Config.Endpoint.parse(answer, node.port)
    end
  end

  @doc false
  defdelegate check(fun, path), to: NodeFunction
end
