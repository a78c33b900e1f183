defmodule Palladion.Config.NodeTemplate do
  @moduledoc false
  # Internal: texts with variables that stand for what is known of a node, such as
  # "node-{host_id}.example".

  alias Palladion.Config.Options
  alias Palladion.Node

  @variables [:address, :port, :host_id, :datacenter, :rack]

  # To see at the start whether names can come of a template.
  @sample %Node{
    address: "192.0.2.1",
    port: 9042,
    host_id: "00000000-0000-4000-8000-000000000000",
    datacenter: "dc1",
    rack: "rack1"
  }

  @doc false
  @spec sample() :: Node.t()
  def sample, do: @sample

  @doc false
  # Texts about what is wrong with its variables and braces.
  @spec check(String.t()) :: [String.t()]
  def check(template) do
    case Enum.reject(variables(template), &known?/1) do
      [] -> check_braces(template)
      unknown -> Enum.map(unknown, &unknown_variable/1)
    end
  end

  defp known?(name), do: name in Enum.map(@variables, &Atom.to_string/1)

  defp check_braces(template) do
    if Regex.replace(variable(), template, "") =~ ~r/[{}]/,
      do: ["has a brace without its other half: #{Options.show(template)}"],
      else: []
  end

  # An address is checked as one, and a name in its place is a contact point's.
  @chosen_by_servers ~w(host_id datacenter rack port)

  @doc false
  # A text about why a server could choose any name, where certificates are checked for it. A
  # server says of itself what it likes, so its part must not be the end.
  @spec check_domain(String.t()) :: [String.t()]
  def check_domain(template) do
    chosen? = Enum.any?(variables(template), &(&1 in @chosen_by_servers))

    if chosen? and not (template =~ ~r/\.[^.{}]+\.?\z/) do
      [
        "lets a server choose the domain, and so whose certificate it needs: let it end with a " <>
          "domain of yours, as in \"{rack}.db.example\""
      ]
    else
      []
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

  @doc false
  @spec variables(String.t()) :: [String.t()]
  def variables(template), do: for([_, name] <- Regex.scan(variable(), template), do: name)

  @doc false
  # The variables that have no value for this node. The template has passed `check/1`.
  @spec missing(String.t(), Node.t()) :: [String.t()]
  def missing(template, node), do: Enum.filter(variables(template), &(value(node, &1) == nil))

  @doc false
  @spec fill(String.t(), Node.t()) :: {:ok, String.t()} | {:error, String.t()}
  def fill(template, node) do
    case missing(template, node) do
      [] -> {:ok, Regex.replace(variable(), template, fn _, name -> "#{value(node, name)}" end)}
      [name | _] -> {:error, "the template needs {#{name}}, which is not known of the node"}
    end
  end

  defp value(node, name), do: Map.fetch!(node, String.to_existing_atom(name))

  defp variable, do: ~r/\{([^{}]*)\}/
end
