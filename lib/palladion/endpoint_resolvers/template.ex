defmodule Palladion.EndpointResolvers.Template do
  @moduledoc """
  A name that is made of what is known of the node:
  `endpoint_resolver: {:template, "node-{host_id}.example"}`.

  The name is dialled, and the certificate must be for it. The variables are `{address}`,
  `{port}`, `{host_id}`, `{datacenter}` and `{rack}`. A port can follow, as in
  `"{rack}.db.example:9142"`; without it it's the announced one. A host that is made of more than
  `{address}` must end with a domain: the variables are what a server says of itself, and it must
  not choose whose certificate will do.

      iex> node = %Palladion.Node{address: "10.0.0.1", port: 9042, rack: "a", datacenter: "eu"}
      iex> Palladion.EndpointResolvers.Template.resolve(node, "{rack}.{datacenter}.example")
      {:ok, %Palladion.Endpoint{address: "a.eu.example", port: 9042}}
  """

  @behaviour Palladion.EndpointResolver

  import Palladion.ConfigError, only: [problem: 3]

  alias Palladion.{Config, Endpoint, Node}
  alias Palladion.Config.NodeTemplate

  @doc """
  The node's endpoint by the template.

  Errors: a text, where a variable has no value for this node, or where no host name comes of
  it, as of a data center called `"EU west"`.
  """
  @impl true
  @spec resolve(Node.t(), template :: String.t()) :: {:ok, Endpoint.t()} | {:error, String.t()}
  def resolve(node, template) do
    {host, port} = split(template)

    with {:ok, host} <- NodeTemplate.fill(host, node),
         {:ok, port} <- NodeTemplate.fill(port, node) do
      Config.Endpoint.parse({host, String.to_integer(port)}, node.port)
    end
  end

  # The port first, so that an IPv6 address can stand before it.
  defp split(template) do
    case Regex.run(~r/\A(.*):(\d+|\{port\})\z/s, template) do
      [_all, host, port] -> {host, port}
      nil -> {template, "{port}"}
    end
  end

  @doc false
  def check(template, path) when is_binary(template) and template != "" do
    {template, Enum.map(wrong(template), &problem(path, :invalid_value, &1))}
  end

  def check(template, path) do
    message = "needs a text: {:template, \"node-{host_id}.example\"}"
    {template, [problem(path, :invalid_value, message)]}
  end

  defp wrong(template) do
    case NodeTemplate.check(template) do
      [] -> wrong_names(template)
      wrong -> wrong
    end
  end

  defp wrong_names(template) do
    if NodeTemplate.variables(template) == [] do
      ["has no variable, so that all nodes were one; {:fixed_name, name} gives them one name"]
    else
      case resolve(NodeTemplate.sample(), template) do
        {:ok, _endpoint} -> template |> split() |> elem(0) |> NodeTemplate.check_domain()
        {:error, text} -> ["gives no endpoint: #{text}"]
      end
    end
  end
end
