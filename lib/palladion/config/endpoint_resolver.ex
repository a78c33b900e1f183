defmodule Palladion.Config.EndpointResolver do
  @moduledoc false
  # Internal: the policy that says where nodes are dialled.

  alias Palladion.Config.Policy
  alias Palladion.ConfigError
  alias Palladion.EndpointResolvers.{Announced, FixedName, Function, Mapped, Template}

  @path [:endpoint_resolver]

  @doc false
  @spec parse(term()) :: {Policy.t(), [ConfigError.problem()]}
  def parse(given) when is_function(given), do: function(given)
  def parse({_module, _function, _arguments} = given), do: function(given)
  def parse(given), do: Policy.parse(given, kind(), @path)

  defp function(given) do
    {given, problems} = Function.check(given, @path)
    {{Function, given}, problems}
  end

  defp kind do
    %{
      behaviour: Palladion.EndpointResolver,
      callback: {:resolve, 2},
      forms:
        ":announced, {:fixed_name, name}, {:map, map}, {:template, text}, a function, " <>
          "{module, function, arguments}, a module or {module, options}",
      ready_made: [
        announced: {Announced, Policy.options([])},
        fixed_name: {FixedName, &FixedName.check/2},
        map: {Mapped, &Mapped.check/2},
        template: {Template, &Template.check/2},
        function: {Function, &Function.check/2}
      ]
    }
  end
end
