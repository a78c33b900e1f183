defmodule Palladion.Config.DerList do
  @moduledoc false
  # Internal: options that are lists of DER binaries, or name a file of them.

  import Palladion.ConfigError, only: [problem: 3]

  alias Palladion.Config.Pem
  alias Palladion.ConfigError

  @typedoc "Says what is wrong with one, if anything is"
  @type check :: (term() -> :ok | {:error, {reason :: atom(), message :: String.t()}})

  @doc false
  # `what` is what they are of, in the plural.
  @spec parse(term(), check(), ConfigError.path(), String.t()) ::
          {[binary()], [ConfigError.problem()]}
  def parse(list, check, path, what) do
    if is_list(list) and list != [] and not List.improper?(list) do
      problems =
        for {der, index} <- Enum.with_index(list),
            {:error, {reason, message}} <- [check.(der)],
            do: problem(path ++ [index], reason, message)

      {list, problems}
    else
      {[], [problem(path, :invalid_value, "must be a non-empty list of DER #{what}")]}
    end
  end

  @doc false
  # `from_blocks` takes those of one kind out of all that is in the file.
  @spec from_file(
          Path.t(),
          ([Pem.block()] -> {:ok, [binary()]} | {:error, Pem.failure()}),
          ConfigError.path()
        ) :: {[binary()], [ConfigError.problem()]}
  def from_file(file, from_blocks, path) do
    with {:ok, blocks} <- Pem.read(file),
         {:ok, list} <- from_blocks.(blocks) do
      {list, []}
    else
      {:error, {reason, message}} ->
        {[], [problem(path, reason, "#{inspect(file)} #{message}")]}
    end
  end
end
