defmodule Palladion.Test.Policies do
  @moduledoc """
  Policies as applications write them: each answers what its options say.
  """

  defmodule Resolver do
    @moduledoc false
    @behaviour Palladion.EndpointResolver

    @impl true
    def resolve(node, answer) when is_function(answer), do: answer.(node)
    def resolve(_node, answer), do: answer
  end

  defmodule Balancing do
    @moduledoc false
    @behaviour Palladion.LoadBalancingPolicy

    @impl true
    def distances(nodes, %{options: answer} = context) when is_function(answer),
      do: answer.(nodes, context)

    def distances(_nodes, %{options: answer}), do: answer
  end

  defmodule Pauses do
    @moduledoc false
    @behaviour Palladion.ReconnectionPolicy

    @impl true
    def next_delay(failures, answer) when is_function(answer), do: answer.(failures)
    def next_delay(failures, step), do: failures * step
  end

  defmodule Retry do
    @moduledoc false
    @behaviour Palladion.RetryPolicy

    @impl true
    def decide(error, %{options: answer} = context) when is_function(answer),
      do: answer.(error, context)

    def decide(_error, %{options: answer}), do: answer
  end
end
