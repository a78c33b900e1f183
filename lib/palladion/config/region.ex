defmodule Palladion.Config.Region do
  @moduledoc false
  # Internal: the AWS region that a cluster is in: as given, of the environment, or of the profile
  # in AWS's own files.

  alias Palladion.Config.Options
  alias Palladion.{Native, Secret}

  @typedoc "The variables of the environment by their names"
  @type environment :: %{String.t() => String.t()}

  @typedoc "Reads the profile: `Palladion.Native.sigv4_region/1`, or what a test has instead"
  @type reader :: (map() -> {:ok, String.t() | nil} | {:error, {atom(), map()}})

  @variables ["AWS_REGION", "AWS_DEFAULT_REGION"]

  # Where AWS's files are looked for, beside what its own variables say.
  @homes ["HOME", "USERPROFILE"]

  @doc false
  # The first that there is, in lower case; `nil` if there is none.
  @spec find(String.t() | nil, String.t() | nil, environment() | nil, reader()) ::
          {:ok, String.t() | nil} | {:error, String.t()}
  def find(given, profile, environment \\ nil, read \\ &Native.sigv4_region/1) do
    environment = environment || System.get_env()

    case named(given, environment) do
      nil -> of_profile(profile, environment, read)
      {whence, region} -> check(region, whence)
    end
  end

  # An empty variable is none, as it is for AWS's own programs.
  defp named(given, environment) do
    candidates = [{nil, given} | Enum.map(@variables, &{"#{&1} is ", environment[&1]})]
    Enum.find(candidates, fn {_whence, region} -> region not in [nil, ""] end)
  end

  @doc false
  # What of an environment is of use to AWS's own programs, as `Palladion.Native` takes it: it sees
  # only the one that the VM began with.
  @spec secrets(environment()) :: [{String.t(), reference()}]
  def secrets(environment) do
    for {name, value} <- environment,
        String.starts_with?(name, "AWS_") or name in @homes,
        do: {name, Secret.wrap(value).ref}
  end

  defp of_profile(profile, environment, read) do
    case read.(%{profile: profile, environment: secrets(environment)}) do
      {:ok, none} when none in [nil, ""] -> {:ok, nil}
      {:ok, region} -> check(region, "the profile has ")
      {:error, {_kind, %{detail: detail}}} -> {:error, detail}
    end
  end

  # It becomes a part of host names, and of what is signed.
  defp check(region, whence) do
    lower = String.downcase(region)

    if lower =~ ~r/\A[a-z0-9]+(-[a-z0-9]+){2,}\z/,
      do: {:ok, lower},
      else: {:error, wrong(region, whence)}
  end

  # What is an option's may be a secret that was meant for another.
  defp wrong(_region, nil), do: "is no region, such as us-east-1"

  defp wrong(region, whence),
    do: "#{whence}#{Options.show(region)}, which is no region, such as us-east-1"
end
