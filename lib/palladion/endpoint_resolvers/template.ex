defmodule Palladion.EndpointResolvers.Template do
  @moduledoc """
  A name that is made of what is known of the node:
  `endpoint_resolver: {:template, "node-{host_id}.example"}`.

  The name is dialled, and the certificate must be for it. The variables are `{address}`,
  `{port}`, `{host_id}`, `{datacenter}` and `{rack}`. A port can follow, as in
  `"{rack}.db.example:9142"`; without it it's the announced one.

      iex> node = %Palladion.Node{address: "10.0.0.1", port: 9042, rack: "a", datacenter: "eu"}
      iex> Palladion.EndpointResolvers.Template.resolve(node, "{rack}.{datacenter}.example")
      {:ok, %Palladion.Endpoint{address: "a.eu.example", port: 9042}}
  """

  @behaviour Palladion.EndpointResolver

  import Palladion.ConfigError, only: [problem: 3]

  alias Palladion.{Config, Endpoint, Node}
  alias Palladion.Config.Options

  @variables [:address, :port, :host_id, :datacenter, :rack]

  # To see at the start whether names can come of it.
  @sample %Node{
    address: "192.0.2.1",
    port: 9042,
    host_id: "00000000-0000-4000-8000-000000000000",
    datacenter: "dc1",
    rack: "rack1"
  }

  @doc """
  The node's endpoint by the template.

  Errors: a text, where a variable has no value for this node, or where no host name comes of
  it, as of a data center called `"EU west"`.
  """
  @impl true
  @spec resolve(Node.t(), template :: String.t()) :: {:ok, Endpoint.t()} | {:error, String.t()}
  def resolve(node, template) do
    # The port first, so that an IPv6 address can stand before it.
    [host, port] =
      case Regex.run(~r/\A(.*):(\d+|\{port\})\z/s, template) do
        [_all, host, port] -> [host, port]
        nil -> [template, "{port}"]
      end

    with {:ok, host} <- fill(host, node),
         {:ok, port} <- fill(port, node) do
      Config.Endpoint.parse({host, String.to_integer(port)}, node.port)
    end
  end

  defp fill(text, node) do
    case Enum.find(variables(text), &(value(node, &1) == nil)) do
      nil -> {:ok, Regex.replace(variable(), text, fn _, name -> "#{value(node, name)}" end)}
      name -> {:error, "the template needs {#{name}}, which is not known of the node"}
    end
  end

  defp value(node, name), do: Map.fetch!(node, String.to_existing_atom(name))

  defp variable, do: ~r/\{([^{}]*)\}/
  defp variables(text), do: for([_, name] <- Regex.scan(variable(), text), do: name)

  @doc false
  def check(template, path) when is_binary(template) and template != "" do
    {template, Enum.map(wrong(template), &problem(path, :invalid_value, &1))}
  end

  def check(template, path) do
    message = "needs a text: {:template, \"node-{host_id}.example\"}"
    {template, [problem(path, :invalid_value, message)]}
  end

  defp wrong(template) do
    names = variables(template)
    unknown = Enum.reject(names, &(&1 in Enum.map(@variables, fn name -> "#{name}" end)))

    cond do
      unknown != [] ->
        Enum.map(unknown, &unknown_variable/1)

      Regex.replace(variable(), template, "") =~ ~r/[{}]/ ->
        ["has a brace without its other half: #{Options.show(template)}"]

      names == [] ->
        ["has no variable, so that all nodes were one; {:fixed_name, name} gives them one name"]

      true ->
        case resolve(@sample, template) do
          {:ok, _endpoint} -> []
          {:error, text} -> ["gives no endpoint: #{text}"]
        end
    end
  end

  defp unknown_variable(name) do
    advice =
      case Options.nearest(name, @variables) do
        nil -> "there are #{Enum.map_join(@variables, ", ", &"{#{&1}}")}"
        near -> "did you mean {#{near}}?"
      end

    "has an unknown variable {#{name}}, #{advice}"
  end
end
